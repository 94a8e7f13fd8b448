// Package browser tests the dashboard in Chromium, with real processes. It is a module of its own, so
// that who uses the dashboard needs nothing of what drives a browser.
package browser
