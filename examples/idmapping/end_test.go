package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// asProgram, in the environment, makes the test binary the program itself: for tests that kill it.
const asProgram = "IDMAPPING_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "5") // killed programs are waited for, until their sessions end, more than they work
	os.Exit(m.Run())
}

// buffer takes output from several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func program1(t *testing.T, args ...string) (out, log string) {
	t.Helper()
	var o, l buffer
	require.NoError(t, command(t.Context(), args, &o, &l), "%s", &l)
	return o.String(), l.String()
}

func TestService_StoryAsJSON(t *testing.T) {
	out, log := program1(t, "-once", "-json")
	var got []IDs
	for dec := json.NewDecoder(strings.NewReader(out)); dec.More(); {
		var v IDs
		require.NoError(t, dec.Decode(&v))
		got = append(got, v)
	}
	assert.ElementsMatch(t, []IDs{{"0901-111", "ID-7001", "linhs-phone"}, {"0902-222", "ID-7002", "minhs-phone"}}, got)
	assert.Contains(t, log, `skipped: 1 for "no phone"`)
}

func TestService_StoryForPeople(t *testing.T) {
	out, _ := program1(t, "-once")
	assert.Contains(t, out, "-> Linh looks around")
	assert.Contains(t, out, "0901-111 is COMPLETE: ID card ID-7001, device linhs-phone")
	out, _ = program1(t, "-once", "-mode", "mapping")
	assert.Contains(t, out, "COMPLETE")
}

// naiveTable is what the messages come to, phone by phone.
func naiveTable(messages func(yield func(Message) bool)) map[string]IDs {
	facts := map[string][]Fact{}
	for m := range messages {
		at := m.Time.UnixMilli()
		if m.Value == nil {
			facts[m.Key] = append(facts[m.Key], Fact{At: at, Erase: true})
			continue
		}
		var v IDs
		if json.Unmarshal(m.Value, &v) == nil && v.Phone != "" {
			facts[v.Phone] = append(facts[v.Phone], Fact{IDs: v, At: at})
		}
	}
	table := map[string]IDs{}
	for phone, f := range facts {
		if v, ok := naive(phone, f); ok {
			table[phone] = v
		}
	}
	return table
}

func TestService_GenerateEndsWithItsSummary(t *testing.T) {
	out, _ := program1(t, "-generate", "2000", "-seed", "7", "-once", "-json")
	var got struct{ Records, Profiles, Complete int }
	require.NoError(t, json.Unmarshal([]byte(out), &got))

	records := 0
	messages := func(yield func(Message) bool) {
		for m := range generate(2000, 7, at(0)) {
			records++
			if !yield(m) {
				return
			}
		}
	}
	complete, table := 0, naiveTable(messages)
	for _, v := range table {
		if v.complete() {
			complete++
		}
	}
	assert.Equal(t, records, got.Records)
	assert.Equal(t, len(table), got.Profiles)
	assert.Equal(t, complete, got.Complete)
	assert.Greater(t, complete, 1000)
	out, _ = program1(t, "-generate", "200", "-once")
	assert.Regexp(t, `^\d+ records in .* s, \d+ records/s; \d+ of \d+ profiles are complete\n$`, out)
}

// readTable reads the output topic as a table.
func readTable(t *testing.T, ctx context.Context, brokers []string, topic string) map[string]IDs {
	t.Helper()
	k, err := connect(brokers)
	require.NoError(t, err)
	defer k.close()
	n, err := k.partitions(ctx, topic)
	require.NoError(t, err)
	w, err := watch(brokers, topic, n, func(IDs, IDs, bool) {})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.run(ctx) })
	defer wg.Wait()
	defer cancel()
	ends, err := k.ends(ctx, topic, n)
	require.NoError(t, err)
	require.NoError(t, w.until(ctx, ends))
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.profiles
}

// The service creates the topics that a properties file names, and works on a Kafka that is not its
// own.
func TestService_OnABroker(t *testing.T) {
	b := broker.Start(t)
	serviceOn(t, b.Brokers())
}

func serviceOn(t *testing.T, brokers []string) {
	file := properties(t, "application.id=finance\nbootstrap.servers="+strings.Join(brokers, ",")+`
stream.topic.name=user-events
stream.topic.partitions=3
stream.topic.replication.factor=1
table.topic.name=users
table.topic.partitions=2
output.topic.name=mapped
output.topic.partitions=5
`)
	state := t.TempDir()
	args := []string{"-config", file, "-state-dir", state, "-once"}
	_, _ = program1(t, args...) // nothing to do: it creates the topics and ends
	k, err := connect(brokers)
	require.NoError(t, err)
	defer k.close()
	for topic, want := range map[string]int{"user-events": 3, "users": 2, "mapped": 5, "finance-dead-letters": 1} {
		n, err := k.partitions(t.Context(), topic)
		require.NoError(t, err)
		assert.Equal(t, want, n, topic)
	}
	c := defaults()
	c.Stream.Name, c.Table.Name = "user-events", "users"
	now := time.UnixMilli(time.Now().AddDate(0, 0, -2).UnixMilli()) // a broker refuses what lies an hour ahead, and deletes what is a week old
	messages := func(yield func(Message) bool) {
		for m := range generate(500, 3, now) {
			if !yield(m) {
				return
			}
		}
		yield(Message{Table: true, Key: "0900000001", Time: now.AddDate(0, 0, 1)})  // erased
		yield(Message{Table: true, Key: "0900000002", Time: now.AddDate(-1, 0, 0)}) // long before what is known
	}
	_, err = k.produceAll(t.Context(), c, messages)
	require.NoError(t, err)
	_, err = k.produceAll(t.Context(), c, single(Message{Value: []byte("no object"), Time: now}))
	require.NoError(t, err)
	_, log := program1(t, args...)
	assert.Contains(t, log, "skipped:", "by reason")
	assert.Equal(t, naiveTable(messages), readTable(t, t.Context(), brokers, "mapped"))
	ends, err := k.ends(t.Context(), "finance-dead-letters", 1)
	require.NoError(t, err)
	assert.Equal(t, map[int32]int64{0: 1}, ends)
	_, _ = program1(t, args...) // again: nothing is left to do
	assert.Equal(t, naiveTable(messages), readTable(t, t.Context(), brokers, "mapped"))
}

func TestService_Mistakes(t *testing.T) {
	var out, log buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := command(ctx, []string{"-mode", "mapping", "-generate", "-5", "-json"}, &out, &log)
	require.ErrorContains(t, err, "-generate is -5")
	assert.Empty(t, out.String(), fmt.Sprint(err))
}

// The build before the start prints nothing: the first line must not wait for a Kafka.
func TestService_FirstLineComesAtOnce(t *testing.T) {
	var out, log buffer
	err := command(t.Context(), []string{"-brokers", "127.0.0.1:1", "-once"}, &out, &log)
	require.Error(t, err)
	assert.Equal(t, "idmapping: started in learning mode, Kafka is at 127.0.0.1:1; it ends with its input\n", log.String())
	assert.Empty(t, out.String())
}
