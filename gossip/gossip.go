package gossip

// gossip.go is the discovery: memberlist runs as long as Watch does.

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/coveycache/covey"
)

// Members returns a covey.Discovery by gossip. Mistakes in the options are reported in one error.
//
// Gossip begins with Watch, which the group calls, and ends with it: when the group is shut down
// this process tells the others that it leaves, and is out of their lists at once. One that is
// killed is out of them after some seconds. If the address cannot be listened on, the group logs
// that and tries again.
//
// Changes that come together are passed on as one list. The first list is passed on when a seed has
// answered, after 3 s at the latest: GroupOptions.MinMembers keeps a process that reaches no seed
// from being a group of its own. Who has lost sight of the others looks for a seed again, every 30 s.
func Members(o Options) (covey.Discovery, error) {
	c, me, err := o.config()
	if err != nil {
		return nil, err
	}
	return &discovery{o, *c, me}, nil
}

type discovery struct {
	Options
	config memberlist.Config
	me     about
}

const (
	together    = 200 * time.Millisecond // changes within that are passed on as one
	alone       = 3 * time.Second        // of looking for seeds
	lookEvery   = 500 * time.Millisecond // while there is nobody
	rejoinEvery = 30 * time.Second       // one of the seeds, in case the group has fallen apart
	leaveFor    = 2 * time.Second
)

// Watch implements covey.Discovery.
func (d *discovery) Watch(ctx context.Context, update func([]covey.Member)) error {
	me := d.me
	me.Started = time.Now().UnixNano()
	who := &crowd{changed: make(chan struct{}, 1), says: make(map[string][]byte), strange: make(map[string]bool)}
	c := d.config
	// A process that comes back is another node: memberlist refuses a known one a new address until
	// it is sure that the old one is dead.
	c.Name = fmt.Sprintf("%s#%x", strings.ToValidUTF8(me.URL, ""), rand.Uint64())
	c.Delegate, c.Events = told(me.encode()), who
	c.Logger = log.New(lines{d.Logger}, "", 0)
	if d.tune != nil {
		d.tune(&c)
	}
	list, err := memberlist.Create(&c)
	if err != nil {
		return fmt.Errorf("gossip: at %s: %w", d.Bind, err)
	}
	defer func() {
		_ = list.Leave(leaveFor)
		_ = list.Shutdown()
	}()
	d.seek(ctx, list)
	rejoin := time.NewTicker(rejoinEvery)
	defer rejoin.Stop()
	for last := []covey.Member(nil); ; {
		if now := d.members(who); last == nil || !slices.Equal(now, last) {
			last = now
			update(slices.Clone(now))
		}
		select {
		case <-who.changed:
			pause(ctx, together)
		case <-rejoin.C:
			if len(d.Seeds) > 0 {
				_, _ = list.Join([]string{d.Seeds[rand.N(len(d.Seeds))]})
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// seek looks for the others until there is one or it seems that there is none.
func (d *discovery) seek(ctx context.Context, list *memberlist.Memberlist) {
	for began := time.Now(); len(d.Seeds) > 0; {
		_, err := list.Join(d.Seeds)
		if list.NumMembers() > 1 || ctx.Err() != nil {
			return
		}
		if time.Since(began) > alone {
			d.Logger.Warn("covey: no seed of the gossip answers", "seeds", d.Seeds, "err", err)
			return
		}
		pause(ctx, lookEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// members returns who is there, sorted by name, of each name the process that began last.
func (d *discovery) members(who *crowd) []covey.Member {
	newest := make(map[string]about)
	for node, says := range who.all() {
		var a about
		if err := json.Unmarshal(says, &a); err != nil || a.URL == "" && a.Weight >= 0 {
			if !who.isStrange(node) {
				d.Logger.Warn("covey: somebody gossips who does not say what a member says", "node", node, "err", err)
			}
			continue
		}
		key := cmp.Or(a.Name, a.URL)
		if old, ok := newest[key]; !ok || a.Started > old.Started {
			newest[key] = a
		}
	}
	members := make([]covey.Member, 0, len(newest))
	for _, a := range newest {
		members = append(members, covey.Member{Name: a.Name, URL: a.URL, Weight: a.Weight, Zone: a.Zone})
	}
	slices.SortFunc(members, func(a, b covey.Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.URL, b.URL))
	})
	return members
}

// told is what memberlist is to tell the others.
type told []byte

func (t told) NodeMeta(int) []byte           { return t }
func (told) NotifyMsg([]byte)                {}
func (told) GetBroadcasts(int, int) [][]byte { return nil }
func (told) LocalState(bool) []byte          { return nil }
func (told) MergeRemoteState([]byte, bool)   {}

// A crowd is who is there, and what each says of itself. memberlist's own list may only be read
// within these calls.
type crowd struct {
	changed chan struct{}

	mu      sync.Mutex
	says    map[string][]byte
	strange map[string]bool // those that have been logged, and are still there
}

func (c *crowd) NotifyJoin(n *memberlist.Node)   { c.note(n, true) }
func (c *crowd) NotifyUpdate(n *memberlist.Node) { c.note(n, true) }
func (c *crowd) NotifyLeave(n *memberlist.Node)  { c.note(n, false) }

func (c *crowd) note(n *memberlist.Node, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if there {
		c.says[n.Name] = bytes.Clone(n.Meta)
	} else {
		delete(c.says, n.Name)
		delete(c.strange, n.Name)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// isStrange reports whether it has been called for the node before.
func (c *crowd) isStrange(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.strange[node]
	c.strange[node] = true
	return known
}

// all returns what everybody says, and forgets that something has changed.
func (c *crowd) all() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.changed:
	default:
	}
	return maps.Clone(c.says)
}

// lines passes on what memberlist logs. It calls members that come and go "info", which is "debug"
// here: the group logs changes of its members itself.
type lines struct{ *slog.Logger }

func (l lines) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	for prefix, is := range map[string]slog.Level{"[DEBUG] ": slog.LevelDebug, "[INFO] ": slog.LevelDebug, "[WARN] ": slog.LevelWarn, "[ERR] ": slog.LevelWarn} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			text, level = rest, is
			break
		}
	}
	l.Log(context.Background(), level, "covey: gossip", "says", strings.TrimPrefix(text, "memberlist: "))
	return len(line), nil
}
