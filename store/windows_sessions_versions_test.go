package store_test

import (
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver"
)

var (
	in    = stream.NewTopic("in", serde.String, serde.String)
	wins  = store.NewWindow("wins", serde.String, serde.String, 10*time.Millisecond, time.Second)
	dups  = store.NewWindow("dups", serde.String, serde.String, 10*time.Millisecond, time.Second, store.Duplicates(), store.InMemory())
	sess  = store.NewSession("sess", serde.String, serde.String, time.Second)
	vers  = store.NewVersioned("vers", serde.String, serde.String, time.Second, store.InMemory())
	never = time.UnixMilli(1 << 50)
)

func at(ms int64) time.Time { return time.UnixMilli(ms) }

// putAll is a processor that puts each record into all stores: as a window at its time, as a
// session up to its time, as a version.
func putAll(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
	w, d, s, v := wins.In(c), dups.In(c), sess.In(c), vers.In(c)
	return func(r stream.Record[string, string]) error {
		if err := w.Put(r.Key, r.Time, r.Value); err != nil {
			return err
		}
		if err := d.Put(r.Key, r.Time, r.Value); err != nil {
			return err
		}
		if err := s.Put(r.Key, r.Time.Add(-5*time.Millisecond), r.Time, r.Value); err != nil {
			return err
		}
		_, _, err := v.Put(r.Key, r.Value, r.Time)
		return err
	}, nil
}

func segmented(t *testing.T, partitions int) *testdriver.Driver {
	b := stream.NewBuilder()
	stream.Process(stream.From(b, in), "put", putAll, wins, dups, sess, vers)
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top, testdriver.Partitions(partitions))
}

func send(d *testdriver.Driver, records ...string) {
	for _, r := range records {
		what, digits, _ := strings.Cut(r, "@")
		k, v, _ := strings.Cut(what, "=")
		var ms int64
		_, _ = fmt.Sscan(digits, &ms)
		testdriver.Input(d, in).At(at(ms)).Send(k, v)
	}
}

func texts[R any](t *testing.T, rows iter.Seq2[R, error]) string {
	t.Helper()
	var out []string
	for r, err := range rows {
		require.NoError(t, err)
		switch r := any(r).(type) {
		case store.WindowRow[string, string]:
			out = append(out, fmt.Sprintf("%s@%d-%d=%s", r.Key, r.Start.UnixMilli(), r.End.UnixMilli(), r.Value))
		case store.VersionRow[string]:
			to := "now"
			if !r.To.IsZero() {
				to = fmt.Sprint(r.To.UnixMilli())
			}
			out = append(out, fmt.Sprintf("%d-%s=%s", r.From.UnixMilli(), to, r.Value))
		case store.Row[string, string]:
			out = append(out, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Time.UnixMilli()))
		}
	}
	return strings.Join(out, " ")
}

func TestWindowSessionVersionedStores_ReadAndWrite(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " partitions"), func(t *testing.T) {
			d := segmented(t, n)
			send(d, "a=1@10", "b=2@20", "c=3@15", "a=4@30", "a=5@30", "a=6@20", "b=7@40", "d=8@5")
			check := func(name string) {
				w, u, s, v := wins.In(d), dups.In(d), sess.In(d), vers.In(d)
				assert.Equal(t, "a@10-20=1 a@20-30=6 a@30-40=5", texts(t, w.Fetch("a", time.Time{}, never)), name)
				assert.Equal(t, "a@30-40=5 a@20-30=6", texts(t, w.Backward("a", at(11), at(30))))
				assert.Equal(t, "a@10-20=1 a@20-30=6 b@20-30=2 c@15-25=3", texts(t, w.All(at(10), at(20))), "by key over all partitions")
				assert.Equal(t, "c@15-25=3 b@20-30=2 a@20-30=6 a@10-20=1", texts(t, w.AllBackward(at(10), at(20))))
				assert.Equal(t, "a@10-20=1 a@20-30=6 a@30-40=5 b@20-30=2 b@40-50=7 c@15-25=3 d@5-15=8", texts(t, w.All(time.Time{}, time.Time{})))
				assert.Equal(t, "b@20-30=2 b@40-50=7 c@15-25=3", texts(t, w.All(time.Time{}, time.Time{}, store.Above("a"), store.To("c"))))
				assert.Equal(t, "c@15-25=3 b@40-50=7 b@20-30=2", texts(t, w.AllBackward(time.Time{}, time.Time{}, store.From("b"), store.Below("d"))))
				assert.Equal(t, texts(t, w.Fetch("a", at(0), never)), texts(t, w.Fetch("a", time.Time{}, time.Time{})))
				assert.Empty(t, texts(t, w.Fetch("a", at(30), at(10))), "a range of times may be empty")
				got, ok, err := w.Get("a", at(30))
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, "5", got)
				_, ok, err = w.Get("a", at(31))
				require.NoError(t, err)
				assert.False(t, ok)

				assert.Equal(t, "a@30-40=4 a@30-40=5", texts(t, u.Fetch("a", at(25), at(30))))
				got, _, err = u.Get("a", at(30))
				require.NoError(t, err)
				assert.Equal(t, "5", got, "the last one put")

				assert.Equal(t, "a@15-20=6 a@25-30=5", texts(t, s.Find("a", at(15), at(25))))
				assert.Equal(t, "a@25-30=5 a@15-20=6", texts(t, s.Backward("a", at(15), at(25))))
				assert.Equal(t, "a@25-30=5 b@35-40=7", texts(t, s.All(at(30), never)))
				assert.Equal(t, "a@5-10=1 a@15-20=6 a@25-30=5", texts(t, s.Fetch("a")))
				assert.Equal(t, "a@25-30=5 a@15-20=6 a@5-10=1", texts(t, s.FetchBackward("a")))
				assert.Empty(t, texts(t, s.Fetch("e")))
				assert.Equal(t, "a@25-30=5", texts(t, s.Find("a", at(30), at(25))), "that hold both times")
				assert.Equal(t, "d@0-5=8 c@10-15=3 b@35-40=7 b@15-20=2", texts(t, s.AllBackward(time.Time{}, time.Time{}, store.From("b"))))
				assert.Equal(t, "a@25-30=5 b@35-40=7", texts(t, s.All(at(30), time.Time{}, store.To("b"))))
				got, ok, err = s.Get("d", at(0), at(5))
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, "8", got)

				assert.Equal(t, "a=5@30 b=7@40 c=3@15 d=8@5", texts(t, v.All()))
				assert.Equal(t, "10-20=1 20-30=6 30-now=5", texts(t, v.History("a", at(0), never)))
				assert.Equal(t, "20-30=6 10-20=1", texts(t, v.HistoryBackward("a", at(0), at(29))))
				assert.Equal(t, "30-now=5 20-30=6 10-20=1", texts(t, v.HistoryBackward("a", time.Time{}, time.Time{})))
				row, ok, err := v.AsOf("a", at(29))
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, store.VersionRow[string]{Value: "6", From: at(20), To: at(30)}, row)
				row, ok, err = v.Get("a")
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, store.VersionRow[string]{Value: "5", From: at(30)}, row)
				_, ok, err = v.AsOf("a", at(9))
				require.NoError(t, err)
				assert.False(t, ok)
			}
			check("at once")
			d.Restart()
			check("restored")
			d.Wipe()
			check("on another machine")

			require.NoError(t, wins.In(d).Delete("a", at(10)))
			require.NoError(t, dups.In(d).Delete("a", at(30)))
			require.NoError(t, sess.In(d).Delete("a", at(25), at(30)))
			to, written, err := vers.In(d).Delete("a", at(25))
			require.NoError(t, err)
			assert.True(t, written)
			assert.Equal(t, at(30), to)
			d.Commit()
			d.Restart()
			assert.Equal(t, "a@20-30=6 a@30-40=5", texts(t, wins.In(d).Fetch("a", time.Time{}, never)))
			assert.Equal(t, "a@10-20=1 a@20-30=6", texts(t, dups.In(d).Fetch("a", time.Time{}, never)))
			assert.Equal(t, "a@5-10=1 a@15-20=6", texts(t, sess.In(d).Find("a", time.Time{}, never)))
			assert.Equal(t, "10-20=1 20-25=6 30-now=5", texts(t, vers.In(d).History("a", time.Time{}, never)))
			send(d, "a=9@30")
			assert.Equal(t, "a@30-40=9", texts(t, dups.In(d).Fetch("a", at(30), at(30))), "numbers go on")
		})
	}
}

func TestWindowSessionVersionedStores_CountExpiredRows(t *testing.T) {
	d := segmented(t, 1)
	send(d, "a=1@10", "a=2@2000", "a=3@1000", "a=4@999")
	assert.Equal(t, "a@2000-2010=2", texts(t, wins.In(d).Fetch("a", time.Time{}, never)))
	assert.Equal(t, "1000-2000=3 2000-now=2", texts(t, vers.In(d).History("a", time.Time{}, never)))
	assert.Equal(t, map[string]int{"older than what its store keeps": 3 + 4}, d.Dropped(), "windows and sessions at the edge are gone, versions are not")
}

func TestWindowSessionVersionedStores_OpenErrors(t *testing.T) {
	d := segmented(t, 1)
	kv := store.NewKeyValue("wins", serde.String, serde.String).In(d)
	_, _, err := kv.Get("a")
	assert.ErrorContains(t, err, "it is not a key-value store")
	assert.ErrorContains(t, store.NewWindow("sess", serde.String, serde.String, time.Second, time.Second).In(d).Put("a", at(1), ""), "it is not a window store")
	assert.ErrorContains(t, store.NewSession("vers", serde.String, serde.String, time.Second).In(d).Delete("a", at(1), at(1)), "it is not a session store")
	for _, err := range store.NewVersioned("wins", serde.String, serde.String, time.Second).In(d).All() {
		assert.ErrorContains(t, err, "it is not a versioned store")
	}
	for _, err := range store.NewWindow("none", serde.String, serde.String, time.Second, time.Second).In(d).All(at(1), at(2)) {
		assert.ErrorContains(t, err, `no store "none"`)
	}
	for _, err := range wins.In(nil).Fetch("a", at(1), at(2)) {
		assert.ErrorContains(t, err, "opened with nil")
	}
	_, _, err = store.VersionedRef[string, string]{}.In(d).Get("a")
	assert.ErrorContains(t, err, "the reference is zero")
	assert.Empty(t, store.SessionRef[string, string]{}.DependencyName())
	assert.Nil(t, store.WindowRef[string, string]{}.StoreSpec())
}

func TestWindowSessionVersionedStores_BadReferences(t *testing.T) {
	s := serde.String
	for want, err := range map[string]error{
		"the size of its windows is 2s":             store.NewWindow("s", s, s, 2*time.Second, time.Second).StoreSpec().Err,
		"the size of its windows is 1µs":            store.NewWindow("s", s, s, time.Microsecond, time.Second).StoreSpec().Err,
		"kept for 0s":                               store.NewSession("s", s, s, 0).StoreSpec().Err,
		"kept for 1.5µs":                            store.NewVersioned("s", s, s, 1500*time.Nanosecond).StoreSpec().Err,
		"no serde for its keys":                     store.NewVersioned[string, string]("s", nil, s, time.Second).StoreSpec().Err,
		"no serde for its values":                   store.NewSession[string, string]("s", s, nil, time.Second).StoreSpec().Err,
		"option store.Duplicates does not apply":    store.NewSession("s", s, s, time.Second, store.Duplicates()).StoreSpec().Err,
		"option store.Retention does not apply":     store.NewWindow("s", s, s, time.Second, time.Second, store.Retention(time.Hour)).StoreSpec().Err,
		"option store.Versions does not apply here": store.NewKeyValue("s", s, s, store.Versions(time.Hour)).StoreSpec().Err,
	} {
		assert.ErrorContains(t, err, want)
	}
}

// show is what a driver needs of a test, for examples.
type show struct{}

func (show) Helper()                           {}
func (show) Cleanup(func())                    {}
func (show) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (show) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// run runs a program of one processor for an example.
func run(f func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error), uses store.Dependency) *testdriver.Driver {
	b := stream.NewBuilder()
	stream.Process(stream.From(b, in), "p", f, uses)
	top, err := b.Build()
	if err != nil {
		panic(err)
	}
	return testdriver.New(show{}, top)
}

func ExampleNewWindow() {
	clicks := store.NewWindow("clicks", serde.String, serde.Int64, time.Minute, time.Hour)
	count := func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := clicks.In(c)
		return func(r stream.Record[string, string]) error {
			start := r.Time.Truncate(time.Minute)
			n, _, err := s.Get(r.Key, start)
			if err != nil {
				return err
			}
			return s.Put(r.Key, start, n+1)
		}, nil
	}
	d := run(count, clicks)
	send(d, "anna=x@1000", "anna=x@59000", "anna=x@60000")
	for row, err := range clicks.In(d).Fetch("anna", at(0), at(120_000)) {
		fmt.Println(row.Start.UTC().Format(time.TimeOnly), row.Value, err)
	}
	// Output:
	// 00:00:00 2 <nil>
	// 00:01:00 1 <nil>
}

func ExampleNewSession() {
	visits := store.NewSession("visits", serde.String, serde.String, time.Hour)
	process := func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := visits.In(c)
		return func(r stream.Record[string, string]) error {
			return s.Put(r.Key, r.Time, r.Time.Add(time.Minute), r.Value)
		}, nil
	}
	d := run(process, visits)
	send(d, "anna=home@0", "anna=shop@300000")
	for row, err := range visits.In(d).Find("anna", at(30_000), at(60_000)) {
		fmt.Println(row.Value, row.End.Sub(row.Start), err)
	}
	// Output: home 1m0s <nil>
}

func ExampleNewVersioned() {
	prices := store.NewVersioned("prices", serde.String, serde.String, 24*time.Hour)
	process := func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
		s := prices.In(c)
		return func(r stream.Record[string, string]) error {
			_, _, err := s.Put(r.Key, r.Value, r.Time)
			return err
		}, nil
	}
	d := run(process, prices)
	send(d, "pear=3@1000", "pear=5@5000", "pear=4@3000") // the last one comes late
	for _, t := range []int64{2000, 4000, 6000} {
		v, _, err := prices.In(d).AsOf("pear", at(t))
		fmt.Println(t, v.Value, err)
	}
	// Output:
	// 2000 3 <nil>
	// 4000 4 <nil>
	// 6000 5 <nil>
}
