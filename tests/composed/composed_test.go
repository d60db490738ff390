package composed

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

var (
	seed     = flag.Uint64("seed", 0, "seed of the programs; 0: another one each time")
	programs = flag.Int("programs", 300, "how many programs are composed")
	within   = flag.Duration("time", 0, "compose as many programs as fit in this time; 0: -programs")
	only     = flag.Int("program", -1, "the one program of the seed to run")
)

// event is a record of a history, with what happens to the task behind it where a way has crashes.
type event struct {
	in    int
	r     record
	crash int // 1: a restart, 2: the disk is lost
}

func (e event) String() string {
	s := fmt.Sprintf("in%d %s", e.in, shown(e.r))
	return s + []string{"", " restart", " wipe"}[e.crash]
}

func shown(r record) string {
	k, v := r.Key, r.Value
	if r.NoKey {
		k = "null"
	}
	if r.Tombstone {
		v = "null"
	}
	return fmt.Sprintf("%s=%s@%d", k, v, r.Time.UnixMilli())
}

// history makes records for a program. Records without a key go to inputs where they have results.
func history(r *rand.Rand, p program) (h []event) {
	now := int64(0)
	for range 20 + r.IntN(40) {
		e := event{in: r.IntN(len(p.inputs))}
		now += r.Int64N(8) * r.Int64N(2)
		at := now
		if r.IntN(4) == 0 {
			at = max(0, now-r.Int64N(30))
		}
		if r.IntN(30) == 0 {
			now += r.Int64N(200)
		}
		e.r = record{Key: fmt.Sprint("k", r.IntN(4)), Value: fmt.Sprint(r.IntN(20)), Time: time.UnixMilli(at)}
		if r.IntN(6) == 0 {
			e.r.Value, e.r.Tombstone = "", true
		}
		if r.IntN(12) == 0 && p.joinsNoKey(e.in) {
			e.r.Key, e.r.NoKey = "", true
		}
		if r.IntN(8) == 0 {
			e.crash = 1 + r.IntN(2)
		}
		h = append(h, e)
	}
	return h
}

// bench is the test that a driver is given: it gives up instead of ending the test.
type bench struct {
	cleanup []func()
	err     error
}

type gaveUp struct{ error }

func (b *bench) Helper()                           {}
func (b *bench) Cleanup(f func())                  { b.cleanup = append(b.cleanup, f) }
func (b *bench) Fatalf(format string, args ...any) { panic(gaveUp{fmt.Errorf(format, args...)}) }
func (b *bench) Errorf(format string, args ...any) {
	b.err = errors.Join(b.err, fmt.Errorf(format, args...))
}

// run runs a program in one way and returns what came out, by topic.
func (p program) run(w way, h []event) (out map[string][]string, err error) {
	b := &bench{}
	defer func() {
		x := recover()
		g, gave := x.(gaveUp)
		if x != nil && !gave {
			panic(fmt.Sprintf("%v\n%v", x, p))
		}
		for _, f := range slices.Backward(b.cleanup) {
			f()
		}
		err = errors.Join(g.error, b.err)
	}()
	var how []stream.BuilderOption
	if w.merged {
		how = append(how, stream.MergeRepartitions())
	}
	builder := stream.NewBuilder(how...)
	outs := p.build(builder, w)
	top, err := builder.Build()
	if err != nil {
		b.Fatalf("build: %v", err)
	}
	d := testdriver.New(b, top, testdriver.Partitions(w.partitions), testdriver.StartAt(time.UnixMilli(0)))
	for _, e := range h {
		testdriver.Input(d, p.inputs[e.in]).SendRecord(e.r)
		switch {
		case w.crashes && e.crash == 1:
			d.Restart()
		case w.crashes && e.crash == 2:
			d.Wipe()
		}
	}
	out = map[string][]string{}
	for _, name := range outs {
		for _, r := range d.Raw(name) {
			line := "null"
			if r.Key != nil {
				line = string(r.Key)
			}
			if r.Value != nil {
				line += "=" + string(r.Value)
			} else {
				line += "=null"
			}
			out[name] = append(out[name], fmt.Sprintf("%s@%d", line, r.Time.UnixMilli()))
		}
	}
	return out, nil
}

// relation is two ways in which a program has to give the same.
type relation struct {
	name     string
	one, two way
	applies  func(n node) bool // to what comes out of node n
	brief    bool              // times, and changes that change nothing, do not count
	byKey    bool              // the order of records of different keys does not count
}

func always(node) bool { return true }

func steady(n node) bool { return !n.racy }

var relations = []relation{
	{name: "restarts", one: way{partitions: 1}, two: way{partitions: 1, crashes: true}, applies: always},
	{name: "restarts, several partitions", one: way{partitions: 3}, two: way{partitions: 3, crashes: true}, applies: steady, byKey: true},
	{name: "a repartition topic behind each input", one: way{partitions: 1}, two: way{partitions: 1, repartition: true}, applies: steady},
	{name: "merged repartition topics", one: way{partitions: 3}, two: way{partitions: 3, merged: true}, applies: steady, byKey: true},
	{name: "partitions", one: way{partitions: 1}, two: way{partitions: 3},
		applies: func(n node) bool { return !n.racy && !n.timed }, byKey: true},
	{name: "tables in stores", one: way{partitions: 1}, two: way{partitions: 1, stored: true},
		applies: func(n node) bool { return !n.racy && !n.begins }, brief: true, byKey: true},
}

// check says where a program is wrong.
func (p program) check(h []event) error {
	ran := map[way]map[string][]string{}
	run := func(w way) (map[string][]string, error) {
		if out, ok := ran[w]; ok {
			return out, nil
		}
		out, err := p.run(w, h)
		ran[w] = out
		return out, err
	}
	for _, r := range relations {
		one, err := run(r.one)
		two, err2 := run(r.two)
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		for i, n := range p.nodes {
			if !r.applies(n) {
				continue
			}
			out := fmt.Sprint("out", i)
			a, b := r.lines(one[out]), r.lines(two[out])
			if !slices.Equal(a, b) {
				return fmt.Errorf("%s: %s: %+v gives\n  %v\n%+v gives\n  %v", r.name, out, r.one, a, r.two, b)
			}
		}
	}
	for i := range p.nodes {
		if out := ran[way{partitions: 1}][fmt.Sprint("out", i)]; p.audited(i) && !slices.Equal(out, withoutEmpty(out)) {
			return fmt.Errorf("out%d deletes rows that are not there: %v", i, out)
		}
	}
	return nil
}

func (r relation) lines(out []string) []string {
	if r.brief {
		out = changes(out)
	}
	if r.byKey {
		out = slices.Clone(out)
		slices.SortStableFunc(out, func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
	}
	return out
}

func keyOf(line string) string {
	k, _, _ := strings.Cut(line, "=")
	return k
}

// withoutEmpty leaves out deletions of rows that are not there.
func withoutEmpty(out []string) []string {
	there := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(out), func(line string) bool {
		k, v, _ := strings.Cut(line, "=")
		gone := strings.HasPrefix(v, "null@")
		empty := gone && !there[k]
		there[k] = !gone
		return empty
	})
}

// changes leaves out times, and what a row was before.
func changes(out []string) (changed []string) {
	rows := map[string]string{}
	for _, line := range withoutEmpty(out) {
		row, _, _ := strings.Cut(line, "@")
		if k := keyOf(row); rows[k] != row {
			rows[k] = row
			changed = append(changed, row)
		}
	}
	return changed
}

// shrink leaves out records as long as the program stays wrong.
func (p program) shrink(h []event) []event {
	for size := len(h) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(h); {
			if less := slices.Delete(slices.Clone(h), i, i+size); p.check(less) != nil {
				h = less
			} else {
				i += size
			}
		}
	}
	return h
}

// TestComposedPrograms composes programs and runs each in pairs of ways that have to give the same.
func TestComposedPrograms(t *testing.T) {
	base := *seed
	if base == 0 {
		base = rand.Uint64N(1 << 32)
	}
	t.Logf("-seed %d", base)
	end := time.Now().Add(*within)
	n := 0
	for ; *within == 0 && n < *programs || *within > 0 && time.Now().Before(end); n++ {
		if *only >= 0 {
			n = *only
		}
		r := rand.New(rand.NewPCG(base, uint64(n)))
		p := compose(r, r.IntN(4) > 0)
		h := history(r, p)
		if err := p.check(h); err != nil {
			h = p.shrink(h)
			t.Fatalf("-seed %d -program %d: %v\nprogram:\n%vrecords: %v", base, n, p.check(h), p, h)
		}
		if *only >= 0 {
			break
		}
	}
	t.Logf("%d programs", n)
}
