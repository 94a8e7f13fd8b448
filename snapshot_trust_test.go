package covey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	agreed "github.com/coveycache/covey/internal/view"
	"github.com/stretchr/testify/require"
)

// A trustWorld is a group whose processes trust their snapshots, with an account of what has been
// written: every value has a number, and a Get must not return one from before the last write.
type trustWorld struct {
	*world
	dir     string
	o       Options[string]
	number  int
	written map[string]int  // by key: the number of its last write that was acknowledged
	unsure  map[string]bool // values of Puts that may be carried out at any time
	running map[*proc]bool
	trusted int64 // by processes that have ended
}

func (w *trustWorld) next() int {
	w.number++
	return w.number
}

// inTrust runs a test with three processes that trust their snapshots.
func inTrust(t *testing.T, replicas int, f func(w *trustWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &trustWorld{
			world: &world{t: t, net: netsim.New()}, dir: t.TempDir(),
			written: make(map[string]int), unsure: make(map[string]bool), running: make(map[*proc]bool),
		}
		var mu sync.Mutex
		w.o = Options[string]{TTL: 24 * time.Hour, Replicas: replicas, Loader: func(context.Context, string) (string, error) {
			w.loads.Add(1)
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprint(w.next()), nil
		}}
		all := StaticPeers("http://a", "http://b", "http://c", "http://d")
		for _, name := range []string{"a", "b", "c"} {
			w.at(name, all)
		}
		w.run(w.procs...)
		w.ready()
		defer func() {
			w.stop(w.procs...)
			time.Sleep(time.Second)
			synctest.Wait()
			require.Zero(t, w.net.Conns())
		}()
		f(w)
	})
}

// path returns the name of a process's snapshot.
func (w *trustWorld) path(name string) string { return filepath.Join(w.dir, name) }

// run starts processes.
func (w *trustWorld) run(procs ...*proc) {
	for _, p := range procs {
		w.runWith(p, w.path(p.name))
	}
}

func (w *trustWorld) runWith(p *proc, path string) {
	if w.running[p] {
		return
	}
	w.running[p] = true
	w.world.o = w.o
	w.world.o.Snapshot = Snapshot{Path: path, Interval: time.Minute, Trust: true}
	p.run()
}

// restart starts all processes and waits until they are a group.
func (w *trustWorld) restart() {
	w.t.Helper()
	w.run(w.procs...)
	w.ready()
	w.loads.Store(0)
}

func (w *trustWorld) ended(p *proc) {
	w.trusted += p.cache.Stats().Trusted
	delete(w.running, p)
}

// stop ends processes in good order, all at once.
func (w *trustWorld) stop(procs ...*proc) {
	var wg sync.WaitGroup
	for _, p := range procs {
		if w.running[p] {
			w.ended(p)
			wg.Go(p.stop)
		}
	}
	wg.Wait()
}

// kill kills processes, all at once.
func (w *trustWorld) kill(procs ...*proc) {
	for _, p := range procs {
		if w.running[p] {
			_ = p.srv.Close()
			p.group.node.Close()
		}
	}
	for _, p := range procs {
		if !w.running[p] {
			continue
		}
		w.ended(p)
		kept := w.files(p.name)
		p.crash()
		w.setFiles(p.name, kept) // what Shutdown has written has not been
	}
}

// files returns what a process's snapshot and seal are.
func (w *trustWorld) files(name string) map[string][]byte {
	all := make(map[string][]byte)
	for _, suffix := range []string{"", sealSuffix} {
		if b, err := os.ReadFile(w.path(name) + suffix); err == nil {
			all[suffix] = b
		}
	}
	return all
}

func (w *trustWorld) setFiles(name string, files map[string][]byte) {
	for _, suffix := range []string{"", sealSuffix} {
		if b, ok := files[suffix]; ok {
			require.NoError(w.t, os.WriteFile(w.path(name)+suffix, b, 0o600))
		} else if err := os.Remove(w.path(name) + suffix); err != nil {
			require.ErrorIs(w.t, err, os.ErrNotExist)
		}
	}
}

func (w *trustWorld) put(p *proc, key string) {
	n := w.next()
	switch err := p.cache.Put(w.t.Context(), key, fmt.Sprint(n)); {
	case err == nil:
		w.written[key] = n
	case errors.Is(err, ErrUnconfirmed):
		w.unsure[fmt.Sprint(n)] = true
	default:
		require.NoError(w.t, err)
	}
}

func (w *trustWorld) delete(p *proc, key string) {
	n := w.next()
	if err := p.cache.Delete(w.t.Context(), key); err == nil {
		w.written[key] = n
	} else {
		require.ErrorIs(w.t, err, ErrUnconfirmed)
	}
}

func (w *trustWorld) clear(p *proc) {
	n := w.next()
	if err := p.cache.Clear(w.t.Context()); err == nil {
		for key := range w.written {
			w.written[key] = n
		}
	} else {
		require.ErrorIs(w.t, err, ErrUnconfirmed)
	}
}

// get checks that what a process has of a key is not from before its last write.
func (w *trustWorld) get(p *proc, key string) {
	w.t.Helper()
	v, err := p.cache.Get(w.t.Context(), key, nil)
	require.NoError(w.t, err)
	if w.unsure[v] {
		return
	}
	var n int
	_, err = fmt.Sscan(v, &n)
	require.NoError(w.t, err)
	require.GreaterOrEqual(w.t, n, w.written[key], "%s as %s has it: the value before its last write", key, p.name)
	if _, ok := w.written[key]; !ok {
		w.written[key] = 0
	}
}

// getAll is get of all keys, and returns how many loads it took.
func (w *trustWorld) getAll(keys []string) int64 {
	w.t.Helper()
	before := w.loads.Load()
	for i, key := range keys {
		w.get(w.procs[i%len(w.procs)], key)
	}
	return w.loads.Load() - before
}

// fill puts n keys.
func (w *trustWorld) fill(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("key", i))
		w.put(w.procs[i%len(w.procs)], keys[i])
	}
	return keys
}

func (w *trustWorld) deleteAll(p *proc, keys []string) {
	for _, key := range keys {
		w.delete(p, key)
	}
}

// A group that was down as a whole has what it had, and nothing that was written meanwhile.
func TestSnapshotTrust(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		for _, atOnce := range []bool{true, false} {
			t.Run(fmt.Sprint(replicas, atOnce), func(t *testing.T) {
				inTrust(t, replicas, func(w *trustWorld) {
					keys := w.fill(400)
					a, b, c := w.procs[0], w.procs[1], w.procs[2]
					gone := int64(0)
					if atOnce {
						w.stop(w.procs...)
					} else { // who stays is written to
						w.stop(a)
						time.Sleep(5 * time.Second)
						w.deleteAll(b, keys[:10])
						for _, key := range keys[10:20] {
							w.put(c, key)
						}
						w.stop(b)
						time.Sleep(5 * time.Second)
						w.deleteAll(c, keys[20:30])
						gone = 20
						w.stop(c)
					}
					time.Sleep(time.Minute)
					w.restart()
					require.LessOrEqual(w.t, w.getAll(keys), gone+3, "but for keys that share a bucket with one that was written")
					require.Positive(w.t, a.cache.Stats().Trusted+b.cache.Stats().Trusted+c.cache.Stats().Trusted)

					// Once more.
					w.stop(w.procs...)
					w.restart()
					require.LessOrEqual(w.t, w.getAll(keys), int64(3))
					require.Zero(w.t, w.getAll(keys))
				})
			})
		}
	}
}

// What is written after the start counts, wherever that was, as long as there is anybody.
func TestSnapshotTrustEnds(t *testing.T) {
	begin := func(t *testing.T, f func(w *trustWorld, keys []string)) {
		t.Helper()
		inTrust(t, 1, func(w *trustWorld) {
			keys := w.fill(100)
			w.stop(w.procs[0]) // so that the others have written since its snapshot
			time.Sleep(5 * time.Second)
			w.getAll2(w.procs[1:], keys)
			w.stop(w.procs...)
			w.restart()
			f(w, keys)
		})
	}
	t.Run("written", func(t *testing.T) {
		begin(t, func(w *trustWorld, keys []string) {
			w.deleteAll(w.procs[0], keys)
			require.EqualValues(w.t, len(keys), w.getAll(keys))
		})
	})
	t.Run("a member ends that has written", func(t *testing.T) {
		for _, kill := range []bool{false, true} {
			begin(t, func(w *trustWorld, keys []string) {
				w.deleteAll(w.procs[0], keys) // whoever asks for that drops what it has aside itself
				if kill {
					w.kill(w.procs[0])
				} else {
					w.stop(w.procs[0])
				}
				time.Sleep(10 * time.Second)
				w.getAll2(w.procs[1:], keys)
				w.restart()
				w.getAll(keys)
			})
		}
	})
	t.Run("cleared", func(t *testing.T) {
		begin(t, func(w *trustWorld, keys []string) {
			w.clear(w.procs[0])
			require.EqualValues(w.t, len(keys), w.getAll(keys))
		})
	})
	t.Run("not asked for before the next end", func(t *testing.T) {
		begin(t, func(w *trustWorld, keys []string) {
			w.deleteAll(w.procs[0], keys)
			w.stop(w.procs...)
			w.restart()
			require.EqualValues(w.t, len(keys), w.getAll(keys))
		})
	})
	t.Run("time", func(t *testing.T) {
		begin(t, func(w *trustWorld, keys []string) {
			time.Sleep(trustFor)
			require.EqualValues(w.t, len(keys), w.getAll(keys))
		})
	})
}

func (w *trustWorld) getAll2(procs []*proc, keys []string) {
	w.t.Helper()
	for i, key := range keys {
		w.get(procs[i%len(procs)], key)
	}
}

// Where anybody may have written who has not left a seal, nothing counts.
func TestSnapshotTrustIsMissing(t *testing.T) {
	for name, f := range map[string]func(w *trustWorld, keys []string){
		"one is killed": func(w *trustWorld, keys []string) {
			w.stop(w.procs[0], w.procs[1])
			time.Sleep(5 * time.Second)
			w.deleteAll(w.procs[2], keys)
			w.kill(w.procs[2])
			w.restart()
		},
		"all are killed": func(w *trustWorld, keys []string) {
			time.Sleep(2 * time.Minute)
			w.deleteAll(w.procs[2], keys)
			w.kill(w.procs...)
			w.restart()
		},
		"all are killed after a start": func(w *trustWorld, keys []string) {
			w.stop(w.procs...)
			w.restart()
			w.deleteAll(w.procs[0], keys)
			w.kill(w.procs...)
			w.restart()
		},
		"one does not come back": func(w *trustWorld, keys []string) {
			w.stop(w.procs[0])
			time.Sleep(5 * time.Second)
			w.stop(w.procs[1])
			time.Sleep(5 * time.Second)
			w.deleteAll(w.procs[2], keys)
			w.stop(w.procs[2])
			w.run(w.procs[:2]...)
			time.Sleep(10 * time.Second)
			w.getAll2(w.procs[:2], keys)
			w.restart()
		},
		"one has no file": func(w *trustWorld, keys []string) {
			w.deleteAll(w.procs[2], keys)
			w.stop(w.procs...)
			w.setFiles("c", nil)
			w.restart()
		},
		"one has no seal": func(w *trustWorld, keys []string) {
			w.stop(w.procs[:2]...)
			time.Sleep(5 * time.Second)
			w.deleteAll(w.procs[2], keys)
			w.stop(w.procs[2])
			files := w.files("c")
			delete(files, sealSuffix)
			w.setFiles("c", files)
			w.restart()
		},
		"one has old files": func(w *trustWorld, keys []string) {
			w.stop(w.procs...)
			old := w.files("c")
			w.restart()
			w.getAll(keys)
			w.stop(w.procs[:2]...)
			time.Sleep(5 * time.Second)
			w.deleteAll(w.procs[2], keys)
			w.stop(w.procs[2])
			w.setFiles("c", old)
			w.restart()
		},
		"one alone restarts": func(w *trustWorld, keys []string) {
			w.stop(w.procs[0])
			w.deleteAll(w.procs[1], keys)
			w.restart()
		},
		"they restart one after another": func(w *trustWorld, keys []string) {
			for i, p := range w.procs {
				w.stop(p)
				time.Sleep(5 * time.Second)
				w.deleteAll(w.procs[(i+1)%3], keys[20*i:20*i+20])
				w.restart()
			}
			w.deleteAll(w.procs[0], keys[60:])
		},
		"others found a group meanwhile, which ends": func(w *trustWorld, keys []string) {
			for _, p := range w.procs {
				w.stop(p)
				time.Sleep(5 * time.Second)
			}
			w.run(w.procs[:2]...)
			time.Sleep(10 * time.Second)
			w.deleteAll(w.procs[0], keys)
			w.kill(w.procs[:2]...)
			time.Sleep(5 * time.Second)
			w.run(w.procs[2])
			time.Sleep(40 * time.Second)
			w.getAll2(w.procs[2:], keys)
			w.restart()
		},
		"one that leaves does not hear of a Clear": func(w *trustWorld, keys []string) {
			a, b := w.procs[0], w.procs[1]
			a.cache.peering.snapshot(w.t.Context())
			for _, q := range w.procs[1:] {
				w.net.Partition(a.name, q.name)
			}
			before := b.group.Stats().Epoch
			w.clear(b)
			require.NotEqual(w.t, before, b.group.Stats().Epoch)
			w.stop(w.procs...)
			for _, q := range w.procs[1:] {
				w.net.Heal(a.name, q.name)
			}
			w.restart()
		},
		"another view goes on": func(w *trustWorld, keys []string) {
			w.stop(w.procs[:2]...) // what was theirs is c's
			time.Sleep(5 * time.Second)
			w.getAll2(w.procs[2:], keys)
			w.run(w.procs[:2]...)
			time.Sleep(10 * time.Second)
			w.stop(w.procs[2])
			time.Sleep(5 * time.Second)
			w.deleteAll(w.procs[0], keys)
			w.stop(w.procs[:2]...)
			w.run(w.procs[2])
			time.Sleep(40 * time.Second)
			w.getAll2(w.procs[2:], keys)
			w.restart()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTrust(t, 1, func(w *trustWorld) {
				keys := w.fill(100)
				time.Sleep(time.Second)
				f(w, keys)
				w.getAll(keys)
			})
		})
	}
}

// A snapshot lacks what is written while it is, and after that.
func TestSnapshotTrustDuringTheLast(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		inTrust(t, replicas, func(w *trustWorld) {
			keys := w.fill(200)
			a := w.procs[0]
			for _, p := range w.procs {
				p.cache.peering.snapshot(w.t.Context())
			}
			w.deleteAll(a, keys[:50])
			for _, key := range keys[50:100] {
				w.put(a, key)
			}
			w.stop(w.procs...)
			w.restart()
			require.LessOrEqual(w.t, w.getAll(keys), int64(105))

			for _, p := range w.procs {
				p.cache.peering.snapshot(w.t.Context())
			}
			w.clear(a)
			w.stop(w.procs...)
			w.restart()
			require.EqualValues(w.t, len(keys), w.getAll(keys))

			w.stop(a)
			time.Sleep(5 * time.Second)
			w.clear(w.procs[1])
			w.stop(w.procs...)
			w.restart()
			w.getAll(keys)
		})
	}
}

// What a process has to forget while its last snapshot begins is not in that, or noted.
func TestSnapshotTrustForgetsLate(t *testing.T) {
	inTrust(t, 2, func(w *trustWorld) {
		a, b := w.procs[0], w.procs[1]
		key := ""
		for _, k := range b.keys(100) {
			if v := a.group.view.Load(); v.keeps(ringHash(k)) {
				key = k
			}
		}
		w.put(b, key)
		time.Sleep(time.Second)
		require.True(t, a.cache.Contains(key))
		c, trust := a.cache, a.cache.peering.trust
		hash, place := c.store.hash(key), ringHash(key)
		forgotten := func() uint64 {
			s := c.lock(hash)
			defer s.unlock()
			return s.forgotten.of(place)
		}
		before, done := forgotten(), make(chan struct{})
		c.store.mu.Lock() // the entry cannot be removed
		go func() {
			defer close(done)
			w.delete(b, key)
		}()
		for forgotten() == before {
			runtime.Gosched()
		}
		c.peering.beginLast()
		c.store.mu.Unlock()
		<-done
		require.EqualValues(t, 1, trust.moments[trustBucket(key)].Load()%2, "written after the last snapshot had begun")
	})
}

// Where a seal stays there is no cache: what it does would not be known later.
func TestSealThatStays(t *testing.T) {
	inTrust(t, 1, func(w *trustWorld) {
		path := filepath.Join(w.dir, "other")
		require.NoError(t, os.MkdirAll(filepath.Join(path+sealSuffix, "file"), 0o700)) // nor can a seal be removed in a folder that may only be read
		o := w.o
		o.Group, o.Snapshot = w.procs[0].group, Snapshot{Path: path, Trust: true}
		_, err := New("other", o)
		require.ErrorContains(t, err, "seal")
		require.NoError(t, os.RemoveAll(path+sealSuffix))
		c, err := New("other", o)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}

// Whatever has happened to processes and their files, no write is undone.
func TestSnapshotTrustAtRandom(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	trusted := int64(0)
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inTrust(t, 1+int(seed%2), func(w *trustWorld) {
				r := rand.New(rand.NewPCG(seed, 7))
				keys := w.fill(40)
				w.at("d", w.procs[0].opt.Discovery)
				backups := make(map[string][]map[string][]byte)
				some := func() []*proc {
					all := slices.Clone(w.procs)
					r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
					return all[:1+r.IntN(len(all))]
				}
				work := func(n int) {
					alive := slices.SortedFunc(maps.Keys(w.running), func(a, b *proc) int { return int(a.name[0]) - int(b.name[0]) })
					for range n {
						if len(alive) == 0 {
							return
						}
						p, key := alive[r.IntN(len(alive))], keys[r.IntN(len(keys))]
						switch r.IntN(20) {
						case 0, 1:
							w.put(p, key)
						case 2, 3:
							w.delete(p, key)
						case 4:
							if r.IntN(20) == 0 {
								w.clear(p)
							}
						default:
							w.get(p, key)
						}
					}
				}
				damage := func(name string) {
					files := w.files(name)
					backups[name] = append(backups[name], maps.Clone(files))
					suffix := []string{"", sealSuffix}[r.IntN(2)]
					switch r.IntN(8) {
					case 0:
						delete(files, suffix)
					case 1:
						if b := files[suffix]; len(b) > 0 {
							files[suffix] = b[:r.IntN(len(b))]
						}
					case 2:
						if b := slices.Clone(files[suffix]); len(b) > 0 {
							b[r.IntN(len(b))] ^= 1 << r.IntN(8)
							files[suffix] = b
						}
					case 3:
						files = backups[name][r.IntN(len(backups[name]))]
					case 4:
						if old := backups[name][r.IntN(len(backups[name]))]; old[suffix] != nil {
							files[suffix] = old[suffix]
						}
					}
					w.setFiles(name, files)
				}
				for range 12 {
					work(20)
					switch r.IntN(6) {
					case 0:
						w.kill(some()...)
					case 1:
						for _, p := range some() {
							w.stop(p)
							time.Sleep(time.Duration(r.IntN(5)) * time.Second)
							work(10)
						}
					case 2:
						w.stop(some()...)
					default: // all, as is meant
						order := some()
						w.stop(order...)
						work(10)
						w.stop(w.procs...)
					}
					time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
					work(10)
					if r.IntN(3) == 0 {
						damage([]string{"a", "b", "c"}[r.IntN(3)])
					}
					for _, p := range w.procs[:3] {
						if r.IntN(8) != 0 && (p.name != "a" || !w.running[w.procs[3]]) {
							w.run(p)
							time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
						}
					}
					if a, d := w.procs[0], w.procs[3]; !w.running[a] && !w.running[d] && r.IntN(2) == 0 {
						w.runWith(d, w.path("a")) // a, by another name
					} else if !w.running[a] && !w.running[d] {
						w.run(a)
					}
					time.Sleep(time.Duration(r.IntN(10000)) * time.Millisecond)
					work(60)
				}
				w.stop(w.procs...)
				trusted += w.trusted
			})
		})
	}
	t.Log("trusted", trusted)
	require.Positive(t, trusted)
}

// Whose seals are needed.
func TestSealsAreWeighed(t *testing.T) {
	id := func(name string) agreed.ID { return agreed.ID{Name: name, Instance: 1} }
	a := &seal{by: id("a"), lineage: 1, upTo: 10, seen: []sighting{{id("a"), 10}, {id("b"), 10}, {id("c"), 10}, {id("old"), 4}}}
	b := &seal{by: id("b"), lineage: 1, upTo: 12, seen: []sighting{{id("a"), 10}, {id("b"), 12}, {id("c"), 11}}}
	c := &seal{by: id("c"), lineage: 1, upTo: 12, seen: []sighting{{id("a"), 10}, {id("b"), 12}, {id("c"), 11}}}
	require.EqualValues(t, 4, weigh([]*seal{a, b, c}), "who has left before")
	require.EqualValues(t, 11, weigh([]*seal{a, b}), "c may have written until 11")
	require.EqualValues(t, uint64(nothingCounts), weigh([]*seal{a, c}), "b may have gone on")
	require.EqualValues(t, uint64(nothingCounts), weigh([]*seal{a}))
	other := *c
	other.lineage = 2
	require.EqualValues(t, uint64(nothingCounts), weigh([]*seal{a, b, &other}))
	again := *c
	again.by.Instance = 2
	require.EqualValues(t, 11, weigh([]*seal{a, b, &again}))
	require.EqualValues(t, 4, weigh([]*seal{a, b, c, c}))
}

// A seal is read as it was written, or not at all, and what it has seen is bounded.
func TestSealEncoding(t *testing.T) {
	s := &seal{by: agreed.ID{Name: "a", Instance: 7}, lineage: 1 << 63, asOf: 3, floor: 2, upTo: 5, taken: 99}
	s.see(4, []agreed.Member{{ID: s.by}, {ID: agreed.ID{Name: "b"}}})
	s.see(5, []agreed.Member{{ID: s.by}})
	got, err := parseSeal(s.encode())
	require.NoError(t, err)
	require.Equal(t, s, got)
	for i := range s.encode() {
		_, err := parseSeal(s.encode()[:i])
		require.Error(t, err)
	}
	for i := range 2 * trustSeen {
		s.see(uint64(10+i), []agreed.Member{{ID: agreed.ID{Name: "x", Instance: uint64(i)}}})
	}
	require.LessOrEqual(t, len(s.seen), trustSeen)
	require.Less(t, s.seen[0].epoch, s.floor+trustSeen+1)
	require.Greater(t, s.floor, uint64(10))
}
