//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// sink hands batches to the test's goroutine.
type sink struct {
	batches chan *kafka.Batch
	failed  chan error
}

func newSink() sink { return sink{make(chan *kafka.Batch, 10_000), make(chan error, 100)} }

func (s sink) Deliver(b *kafka.Batch) { s.batches <- b }
func (s sink) FetchFailed(tp kafka.TopicPartition, err error) {
	s.failed <- fmt.Errorf("%v: %w", tp, err)
}

// take returns n records of a partition fetched from its beginning.
func take(t *testing.T, ctx context.Context, c kafka.Client, tp kafka.TopicPartition, n int) (all []kafka.Record) {
	t.Helper()
	f, err := c.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
	require.NoError(t, err)
	defer f.Close()
	s := newSink()
	f.Add(tp, 0, s)
	for len(all) < n {
		select {
		case b := <-s.batches:
			all = append(all, b.Records...)
			f.Release(tp, b.Bytes)
		case err := <-s.failed:
			require.NoError(t, err)
		case <-ctx.Done():
			require.FailNow(t, "not in time", "%d of %d records", len(all), n)
		}
	}
	return all
}

func client(t *testing.T, cfg sarama.Config) kafka.Client {
	t.Helper()
	c, err := sarama.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// settle waits until all that p was sent is acknowledged.
func settle(t *testing.T, ctx context.Context, p kafka.Producer) {
	t.Helper()
	ticket := p.Cut()
	select {
	case <-ticket.Done:
		require.NoError(t, ticket.Err)
	case <-ctx.Done():
		require.FailNow(t, "not acknowledged in time")
	}
}

func createTopic(t *testing.T, ctx context.Context, c kafka.Client, name string, partitions int) {
	t.Helper()
	a, err := c.Admin()
	require.NoError(t, err)
	defer a.Close()
	require.NoError(t, a.CreateTopic(ctx, kafka.TopicSpec{Name: name, Partitions: partitions, Replication: -1,
		Config: map[string]string{"cleanup.policy": "compact"}}))
	got, err := a.TopicConfig(ctx, name)
	require.NoError(t, err)
	assert.Equal(t, "compact", got["cleanup.policy"])
	require.ErrorIs(t, a.CreateTopic(ctx, kafka.TopicSpec{Name: name, Partitions: partitions, Replication: -1}), kafka.ErrTopicExists)
}

// TestKafkaClient shows that our client writes and reads on a real Kafka by each listener, mechanism and compression.
func TestKafkaClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	secure := func(s sarama.SASL) sarama.Config {
		s.User, s.Password = kafkatest.User, kafkatest.Password
		return sarama.Config{Brokers: []string{n.SASLAddr}, TLS: trust(t, n.CA), SASL: s}
	}
	bearer := func() (sarama.Token, error) { return sarama.Token{Value: sarama.Secret(token())}, nil }
	for name, cfg := range map[string]sarama.Config{
		"plaintext": {Brokers: []string{n.Addr}},
		"plain":     secure(sarama.SASL{Mechanism: sarama.PLAIN}),
		"scram256":  secure(sarama.SASL{Mechanism: sarama.SCRAM256}),
		"scram512":  secure(sarama.SASL{Mechanism: sarama.SCRAM512}),
		"bearer":    secure(sarama.SASL{Mechanism: sarama.OAUTHBEARER, Token: bearer}),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, cfg)
			createTopic(t, ctx, c, name, 2)
			tp := kafka.TopicPartition{Topic: name, Partition: 1}
			var want []kafka.Record
			for i, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
				p, err := c.Producer(kafka.ProduceConfig{Compression: codec})
				require.NoError(t, err)
				r := kafka.ProduceRecord{Key: []byte(codec), Value: []byte("v"), Time: 1_700_000_000_000 + int64(i), Headers: []kafka.Header{{Name: "null"}, {Name: "empty", Value: []byte{}}}}
				require.NoError(t, p.Send(ctx, tp, r))
				settle(t, ctx, p)
				p.Close()
				want = append(want, kafka.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Offset: int64(i), Time: r.Time})
			}
			assert.Equal(t, want, take(t, ctx, c, tp, len(want)))
		})
	}
}

// TestKafkaClientRefusesWrongCredentials: encryption that trusts anybody would be none.
func TestKafkaClientRefusesWrongCredentials(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	login := sarama.SASL{Mechanism: sarama.SCRAM512, User: kafkatest.User, Password: kafkatest.Password}
	wrong := login
	wrong.Password = "wrong"
	for name, test := range map[string]struct {
		cfg  sarama.Config
		want string
	}{
		"authority that nobody trusts": {sarama.Config{TLS: trust(t, otherCA(t)), SASL: login}, "certificate"},
		"wrong password":               {sarama.Config{TLS: trust(t, n.CA), SASL: wrong}, "uthentication"},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.Brokers, test.cfg.RequestTimeout = []string{n.SASLAddr}, time.Minute
			c, err := sarama.New(test.cfg)
			if err == nil {
				defer c.Close()
				a, aerr := c.Admin()
				require.NoError(t, aerr)
				defer a.Close()
				_, err = a.Topics(ctx)
			}
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "wrong\"")
		})
	}
}

// TestKafkaClientOutlivesACrash kills the broker while records are under way: each arrives once, in order.
func TestKafkaClientOutlivesACrash(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	c := client(t, sarama.Config{Brokers: []string{n.Addr}})
	createTopic(t, ctx, c, "t", 1)
	tp := kafka.TopicPartition{Topic: "t"}
	p, err := c.Producer(kafka.ProduceConfig{})
	require.NoError(t, err)
	defer p.Close()
	const records = 20_000
	for i := range records {
		require.NoError(t, p.Send(ctx, tp, kafka.ProduceRecord{Key: []byte("k"), Value: fmt.Append(nil, i), Time: 1}))
		switch i {
		case records / 3, records * 2 / 3:
			p.Flush()
			n.Kill()
			require.NoError(t, n.Restart(ctx))
		}
	}
	settle(t, ctx, p)
	for i, r := range take(t, ctx, c, tp, records) {
		require.Equal(t, fmt.Sprint(i), string(r.Value))
	}
}

// TestKafkaClientGroup goes through a membership and its offsets.
func TestKafkaClientGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	c := client(t, sarama.Config{Brokers: []string{n.Addr}})
	createTopic(t, ctx, c, "t", 1)
	g, err := c.Group()
	require.NoError(t, err)
	defer g.Close()
	join := kafka.JoinRequest{Group: "g", ProtocolType: "consumer", Protocol: "p", Metadata: []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
		SessionTimeout: 10 * time.Minute, RebalanceTimeout: 10 * time.Second} // no heartbeats while Kafka's tool runs
	joined, err := g.Join(ctx, join)
	require.NoError(t, err)
	assert.Equal(t, joined.LeaderID, joined.MemberID)
	assignment := []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}
	mine, err := g.Sync(ctx, "g", joined.MemberID, joined.Generation, map[string][]byte{joined.MemberID: assignment})
	require.NoError(t, err)
	assert.Equal(t, assignment, mine)
	require.NoError(t, g.Heartbeat(ctx, "g", joined.MemberID, joined.Generation))
	require.ErrorIs(t, g.Heartbeat(ctx, "g", joined.MemberID, joined.Generation+1), kafka.ErrIllegalGeneration)

	o, err := c.Offsets()
	require.NoError(t, err)
	defer o.Close()
	tp := kafka.TopicPartition{Topic: "t"}
	want := map[kafka.TopicPartition]kafka.OffsetMeta{tp: {Offset: 0, Metadata: "meta"}}
	require.NoError(t, o.Commit(ctx, "g", joined.MemberID, joined.Generation, want))
	got, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp})
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.ErrorIs(t, o.Commit(ctx, "g", "nobody", joined.Generation, want), kafka.ErrUnknownMember)

	out, err := n.Tool(ctx, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", n.Addr, "--describe", "--group", "g")
	require.NoError(t, err)
	assert.Contains(t, out, joined.MemberID, "Kafka's own tool reads our assignment")

	require.NoError(t, g.Leave(ctx, "g", joined.MemberID, "done"))
	require.ErrorIs(t, g.Heartbeat(ctx, "g", joined.MemberID, joined.Generation), kafka.ErrUnknownMember)
}
