package millstream

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/millstream-go/millstream/internal/global"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/store"
)

// globals are the global stores of a session and those who keep them. Read-only once made.
type globals struct {
	followers []*global.Follower
	byName    map[string]*global.Shared
	stopping  chan struct{} // closed when the session stops
}

// openGlobals borrows the global stores and makes their followers.
func (s *session) openGlobals(plan *topics.Plan) (*globals, error) {
	g := &globals{byName: map[string]*global.Shared{}, stopping: make(chan struct{})}
	for _, sub := range s.app.g.Subs {
		if !sub.Global {
			continue
		}
		f, err := global.New(s.followerConfig(sub, plan))
		if err != nil {
			return nil, err
		}
		g.followers = append(g.followers, f)
		for _, st := range sub.Stores {
			g.byName[st.Name] = f.Store(st.Name)
		}
	}
	return g, nil
}

func (s *session) followerConfig(sub *graph.Sub, plan *topics.Plan) global.Config {
	return global.Config{
		Sub: sub, Topic: plan.Topics[sub.Stores[0].Topic], Task: s.taskConfig(), Admin: s.admin, Fetcher: s.follower, Partitions: s.counts.of,
		Borrow:    func(st *graph.Store, pressed func()) (store.Engine, error) { return s.stores.borrow(st, 0, pressed) },
		Return:    func(name string) { s.stores.giveBack(name, 0) },
		Progress:  s.progress,
		Processed: func(n int) { s.app.stats.in.Add(int64(n)) },
		Fail:      s.fail, Logger: s.cfg.Logger, Hook: s.hook,
	}
}

// await returns when all global stores hold what their topics held at the start, false when the session ends before.
func (g *globals) await(ctx context.Context) bool {
	for _, f := range g.followers {
		select {
		case <-f.Ready():
		case <-g.stopping:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// stop has the stores settled and given back.
func (g *globals) stop(ctx context.Context) {
	for _, f := range g.followers {
		f.Stop()
	}
	for _, f := range g.followers {
		select {
		case <-f.Done():
		case <-ctx.Done(): // it may be in a user's function for ever
		}
	}
}

// open opens a global store for a task.
func (g *globals) open(s *graph.Store) (store.Bytes, error) {
	if x := g.byName[s.Name]; x != nil {
		return x.View(), nil
	}
	return nil, errors.New("nobody keeps it")
}

// stuck returns the name of a store whose step has been in one call since a time before the one given.
func (g *globals) stuck(limit time.Duration) (name string, d time.Duration) {
	for _, f := range g.followers {
		if at, ok := f.Since(); ok && time.Since(at) > limit {
			return f.String(), time.Since(at)
		}
	}
	return "", 0
}

// globalReader is a global store as others may read it.
type globalReader struct {
	app  *App
	name string
}

// view returns the store for one read. Until a restore is done it shows what is there.
func (r *globalReader) view() (store.Bytes, error) {
	s := r.app.current()
	if s == nil {
		return nil, ErrNotRunning
	}
	return s.globals.byName[r.name].View(), nil
}

// Get implements store.Bytes.
func (r *globalReader) Get(key []byte) ([]byte, int64, bool, error) {
	v, err := r.view()
	if err != nil {
		return nil, 0, false, err
	}
	value, at, ok, err := v.Get(key)
	return value, at, ok, notRunning(err)
}

// notRunning says of a store that is closed already that the App does not run.
func notRunning(err error) error {
	if errors.Is(err, global.ErrClosed) {
		return ErrNotRunning
	}
	return err
}

// Put implements store.Bytes.
func (r *globalReader) Put([]byte, []byte, int64) error { return ErrReadOnly }

// Delete implements store.Bytes.
func (r *globalReader) Delete([]byte, int64) error { return ErrReadOnly }

// Len implements store.Bytes. It counts.
func (r *globalReader) Len() (int64, error) {
	v, err := r.view()
	if err != nil {
		return 0, err
	}
	n, err := v.Len()
	return n, notRunning(err)
}

// Scan implements store.Bytes.
func (r *globalReader) Scan(all store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		v, err := r.view()
		if err != nil {
			yield(store.Entry{}, err)
			return
		}
		for e, err := range v.Scan(all) {
			if !yield(e, notRunning(err)) {
				return
			}
		}
	}
}
