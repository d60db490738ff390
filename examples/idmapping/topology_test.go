package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func at(s int) time.Time { return time.UnixMilli(int64(s) * 1000) }

// program is a topology of the service on the test driver.
type program struct {
	*testdriver.Driver
	events, registrations testdriver.In[string, IDs]
	output                testdriver.Out[string, IDs]
}

func start(t *testing.T, mode string, opts ...testdriver.Option) program {
	t.Helper()
	c := defaults()
	c.Mode = mode
	top, err := build(c)
	require.NoError(t, err)
	d := testdriver.New(t, top, append(opts, testdriver.ApplicationID(c.Application), testdriver.StartAt(at(0)))...)
	topics := newTopics(c)
	return program{d, testdriver.Input(d, topics.Events), testdriver.Input(d, topics.Registrations), testdriver.Output(d, topics.Output)}
}

func TestLearning_LinksWhatNoMessageHasTogether(t *testing.T) {
	p := start(t, "learning")
	p.events.At(at(1)).SendValue(IDs{Phone: "1", DeviceID: "d"})
	p.registrations.At(at(2)).SendValue(IDs{Phone: "1", IDCard: "c"})
	got := p.output.Read()
	require.Len(t, got, 2)
	assert.Equal(t, "1", got[0].Key)
	assert.Equal(t, IDs{Phone: "1", DeviceID: "d"}, got[0].Value)
	assert.Equal(t, IDs{"1", "c", "d"}, got[1].Value)
}

func TestLearning_ForgetsErasedCustomers(t *testing.T) {
	p := start(t, "learning")
	p.registrations.At(at(5)).SendValue(IDs{"1", "c", "d"})
	p.registrations.At(at(6)).Delete("1")
	got := p.output.Read()
	require.Len(t, got, 2)
	assert.True(t, got[1].Tombstone)
	assert.Equal(t, "1", got[1].Key)

	p.events.At(at(6)).SendValue(IDs{Phone: "1", DeviceID: "as old as the erasure"})
	p.events.At(at(3)).SendValue(IDs{Phone: "1", DeviceID: "older"})
	assert.Empty(t, p.output.Read(), "what is not newer stays forgotten, and nothing is told of it")
	p.Restart()
	p.events.At(at(7)).SendValue(IDs{Phone: "1", DeviceID: "newer"})
	assert.Equal(t, IDs{Phone: "1", DeviceID: "newer"}, p.output.ReadOne().Value)
}

func TestLearning_UnusableMessagesAreCountedAndSkipped(t *testing.T) {
	for _, mode := range []string{"learning", "mapping"} {
		t.Run(mode, func(t *testing.T) {
			p := start(t, mode)
			p.events.SendValue(IDs{DeviceID: "d"})
			p.registrations.SendValue(IDs{IDCard: "c"})
			p.registrations.SendBytes(nil, nil)
			p.events.SendBytes([]byte("1"), nil)
			p.events.SendBytes([]byte("key"), []byte("[1]"))
			p.registrations.SendBytes(nil, []byte("not json"))
			assert.Empty(t, p.output.Read())
			dropped := p.Dropped()
			assert.Equal(t, 3, dropped[noPhone])
			assert.Equal(t, 1, dropped[noEvent])

			dead := p.Raw("idmapping-dead-letters")
			require.Len(t, dead, 2)
			assert.Equal(t, "key", string(dead[0].Key))
			assert.Equal(t, "[1]", string(dead[0].Value))
			assert.Nil(t, dead[1].Key)
			assert.Equal(t, "not json", string(dead[1].Value))
			for _, name := range []string{"exception", "message", "topic", "partition", "offset"} {
				_, ok := dead[0].Headers.Get("__streams.errors." + name)
				assert.True(t, ok, name)
			}
			topic, _ := dead[1].Headers.Get("__streams.errors.topic")
			assert.Equal(t, "registrations", string(topic))
		})
	}
}

func TestMapping_FillsFromTheTableOnly(t *testing.T) {
	p := start(t, "mapping")
	p.registrations.At(at(1)).SendValue(IDs{Phone: "1", IDCard: "c"})
	p.events.At(at(2)).SendValue(IDs{Phone: "1", DeviceID: "d"})
	p.events.At(at(3)).SendValue(IDs{Phone: "1"})
	p.events.At(at(4)).SendValue(IDs{Phone: "2", DeviceID: "e"})
	got := p.output.Read()
	require.Len(t, got, 3)
	assert.Equal(t, IDs{"1", "c", "d"}, got[0].Value)
	assert.Equal(t, IDs{Phone: "1", IDCard: "c"}, got[1].Value, "the table learns nothing from events")
	assert.Equal(t, IDs{Phone: "2", DeviceID: "e"}, got[2].Value, "an unknown phone comes out as it is")

	p.registrations.At(at(5)).Delete("1")
	p.events.At(at(6)).SendValue(IDs{Phone: "1", DeviceID: "d"})
	assert.Equal(t, IDs{Phone: "1", DeviceID: "d"}, p.output.ReadOne().Value)
}

// The final table is what a fold over all messages gives, in whatever order topics and partitions
// interleave.
func TestOracleLearning(t *testing.T) {
	t.Logf("seed %d", *seed)
	rnd := rand.New(rand.NewPCG(*seed, 1))
	for range 20 {
		p := start(t, "learning", testdriver.Partitions(3))
		facts := map[string][]Fact{}
		for range 200 {
			some := func(s ...string) string { return s[rnd.IntN(len(s))] }
			v := IDs{some("1", "2", "3", "4"), some("", "a", "b", "c"), some("", "x", "y", "z")}
			ms := int64(rnd.IntN(50))
			in, from := p.events, int32(rnd.IntN(3))
			if rnd.IntN(2) == 0 {
				in = p.registrations
			}
			if rnd.IntN(20) == 0 {
				p.registrations.Partition(from).At(time.UnixMilli(ms)).Delete(v.Phone)
				facts[v.Phone] = append(facts[v.Phone], Fact{At: ms, Erase: true})
				continue
			}
			in.Partition(from).At(time.UnixMilli(ms)).SendValue(v)
			facts[v.Phone] = append(facts[v.Phone], Fact{IDs: v, At: ms})
		}
		want := map[string]IDs{}
		for phone, fs := range facts {
			if v, ok := naive(phone, fs); ok {
				want[phone] = v
			}
		}
		assert.Equal(t, want, testdriver.Table(p.output))
	}
}

// naive is the profile that all facts of a phone come to, by its definition and not step by step.
func naive(phone string, facts []Fact) (v IDs, ok bool) {
	erased := int64(-1)
	for _, f := range facts {
		if f.Erase {
			erased = max(erased, f.At)
		}
	}
	latest := func(of func(Fact) string) string {
		var best Seen
		for _, f := range facts {
			if f.Erase || f.At <= erased || of(f) == "" {
				continue
			}
			if best.Value == "" || f.At > best.At || f.At == best.At && of(f) > best.Value {
				best = Seen{of(f), f.At}
			}
		}
		return best.Value
	}
	for _, f := range facts {
		ok = ok || !f.Erase && f.At > erased
	}
	return IDs{phone, latest(func(f Fact) string { return f.IDCard }), latest(func(f Fact) string { return f.DeviceID })}, ok
}
