"use strict";
// chart.js draws the charts and the ring as SVG.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k === "style") e.style.cssText = v; // an attribute would be against the page's policy
    else e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}

// niceTop returns the end of an axis that has max on it: 1, 2 or 5 times a power of ten.
function niceTop(max) {
  if (!(max > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  return [1, 2, 5, 10].map(k => k * power).find(top => top >= max);
}

// A chart shows lines over the last minutes, stacked upon each other or not. Each line has a name, a
// colour and values; at has how many seconds ago each value was, the oldest first.
function chart(title, at, lines, format, stacked) {
  const width = 420, height = 160, left = 46, bottom = 20, span = 600;
  const x = ago => left + (width - left) * (1 - Math.min(ago, span) / span);
  let sums = at.map(() => 0);
  const tops = lines.map(l => {
    if (!stacked) return l.values;
    sums = sums.map((s, i) => s + l.values[i]);
    return sums;
  });
  const top = niceTop(Math.max(0, ...tops.flat()));
  const y = v => (height - bottom) - (height - bottom - 8) * v / top;
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img"});
  const last = lines.map(l => `${l.name} ${format(l.values.at(-1) || 0)}`).join(", ");
  picture.setAttribute("aria-label", `${title} over the last ten minutes. Now: ${last}`);
  for (const part of [0, 0.5, 1]) {
    picture.append(svg("line", {class: "axis", x1: left, x2: width, y1: y(top * part), y2: y(top * part)}));
    picture.append(svg("text", {class: "axis-text", x: left - 6, y: y(top * part) + 4, "text-anchor": "end"}, format(top * part)));
  }
  for (const [ago, text] of [[600, "−10 min"], [300, "−5 min"], [0, "now"]]) {
    picture.append(svg("text", {class: "axis-text", x: x(ago), y: height - 5, "text-anchor": ago === 600 ? "start" : ago ? "middle" : "end"}, text));
  }
  // A gap of a minute or more ends a piece: nobody looked meanwhile.
  const pieces = [];
  at.forEach((ago, i) => {
    if (i === 0 || at[i - 1] - ago > 60) pieces.push([]);
    pieces.at(-1).push(i);
  });
  lines.map((l, k) => k).reverse().forEach(k => {
    for (const piece of pieces) {
      const points = piece.map(i => `${x(at[i]).toFixed(1)},${y(tops[k][i]).toFixed(1)}`);
      if (stacked) {
        const base = piece.map(i => `${x(at[i]).toFixed(1)},${y(k ? tops[k - 1][i] : 0).toFixed(1)}`).reverse();
        picture.append(svg("polygon", {points: points.concat(base).join(" "), style: `fill: var(--${lines[k].color})`}));
      } else {
        picture.append(svg("polyline", {points: points.join(" "), style: `fill: none; stroke: var(--${lines[k].color}); stroke-width: 2`}));
      }
    }
  });
  const legend = el("ul", {class: "legend"}, ...lines.map(l =>
    el("li", {}, el("i", {style: `background: var(--${l.color})`, "aria-hidden": "true"}), `${l.name} ${format(l.values.at(-1) || 0)}`)));
  return el("figure", {class: "chart"}, el("figcaption", {}, title), picture, legend);
}

// drawRing draws the shares of the members, those of a zone beside each other.
function drawRing(picture, members) {
  const owners = members.filter(m => m.Share > 0).sort((a, b) => (a.Zone + "\0" + a.Name < b.Zone + "\0" + b.Name ? -1 : 1));
  picture.replaceChildren();
  let turn = 0;
  owners.forEach((m, i) => {
    const to = turn + m.Share;
    const point = (part, r) => `${(r * Math.sin(2 * Math.PI * part)).toFixed(2)} ${(-r * Math.cos(2 * Math.PI * part)).toFixed(2)}`;
    const large = m.Share > 0.5 ? 1 : 0;
    const d = m.Share > 0.9999
      ? `M 0 -100 A 100 100 0 1 1 0 100 A 100 100 0 1 1 0 -100 M 0 -66 A 66 66 0 1 0 0 66 A 66 66 0 1 0 0 -66`
      : `M ${point(turn, 100)} A 100 100 0 ${large} 1 ${point(to, 100)} L ${point(to, 66)} A 66 66 0 ${large} 0 ${point(turn, 66)} Z`;
    const hue = Math.round(360 * i / owners.length + 210) % 360;
    const arc = svg("path", {d, "fill-rule": "evenodd", style: `fill: hsl(${hue} 55% 52%); stroke: var(--card); stroke-width: ${owners.length > 60 ? 0.2 : 2}`});
    arc.append(svg("title", {}, `${short(m.Name)}${m.Zone ? ` in ${m.Zone}` : ""}: ${percent(m.Share)}`));
    picture.append(arc);
    turn = to;
  });
  picture.append(svg("text", {x: 0, y: 2}, String(owners.length)), svg("text", {class: "small", x: 0, y: 20}, owners.length === 1 ? "owner" : "owners"));
  const shown = owners.slice(0, 12).map(m => `${short(m.Name)} ${percent(m.Share)}`).join(", ");
  picture.setAttribute("aria-label", `Shares of the keys: ${shown}${owners.length > 12 ? ` and ${owners.length - 12} more` : ""}`);
}
