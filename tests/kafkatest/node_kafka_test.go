//go:build kafka

package kafkatest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/millstream-go/millstream/tests/kafkatest"
)

// TestKafkaNode goes through a node's life: records over each listener and mechanism, a tool, a crash, an orderly restart.
func TestKafkaNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{SASL: true})
	create(t, ctx, n)

	echo(t, ctx, "plaintext", kgo.SeedBrokers(n.Addr))
	for name, m := range mechanisms() {
		echo(t, ctx, name, kgo.SeedBrokers(n.SASLAddr), kgo.DialTLSConfig(trust(t, n.CA)), kgo.SASL(m))
	}

	out, err := n.Tool(ctx, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", n.Addr, "--list")
	require.NoError(t, err)
	assert.Equal(t, "t\n", out)
	_, err = n.Tool(ctx, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", n.Addr, "--describe", "--topic", "none")
	require.ErrorContains(t, err, "does not exist")

	n.Kill()
	require.NoError(t, n.Restart(ctx))
	echo(t, ctx, "after a crash", kgo.SeedBrokers(n.Addr))
	require.NoError(t, n.Restart(ctx))
	echo(t, ctx, "after a restart", kgo.SeedBrokers(n.Addr))
}

func TestKafkaNodeThatCannotStartSaysWhy(t *testing.T) {
	_, err := kafkatest.New(t.Context(), t.TempDir(), kafkatest.Options{Properties: map[string]string{"num.io.threads": "0"}})
	require.ErrorContains(t, err, "num.io.threads")
}

func mechanisms() map[string]sasl.Mechanism {
	auth := scram.Auth{User: kafkatest.User, Pass: kafkatest.Password}
	return map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsMechanism(),
		"SCRAM-SHA-256": auth.AsSha256Mechanism(),
		"SCRAM-SHA-512": auth.AsSha512Mechanism(),
		"OAUTHBEARER":   oauth.Auth{Token: token()}.AsMechanism(),
	}
}

// token is a JSON web token without a signature.
func token() string {
	part := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, kafkatest.User, time.Now().Unix(), time.Now().Add(time.Hour).Unix())
	return part([]byte(`{"alg":"none"}`)) + "." + part([]byte(claims)) + "."
}

func trust(t *testing.T, ca []byte) *tls.Config {
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	return &tls.Config{RootCAs: pool}
}

func create(t *testing.T, ctx context.Context, n *kafkatest.Node) {
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	require.NoError(t, err)
	defer c.Close()
	r := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	r.Topics = append(r.Topics, topic)
	answer, err := r.RequestWith(ctx, c)
	require.NoError(t, err)
	require.Zero(t, answer.Topics[0].ErrorCode)
}

// echo writes a record and reads it back.
func echo(t *testing.T, ctx context.Context, value string, opts ...kgo.Opt) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := kgo.NewClient(append(opts, kgo.DefaultProduceTopic("t"))...)
	require.NoError(t, err)
	defer c.Close()
	sent := c.ProduceSync(ctx, kgo.StringRecord(value))
	require.NoError(t, sent.FirstErr(), value)
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(sent[0].Record.Offset)}})
	f := c.PollFetches(ctx)
	require.NoError(t, f.Err(), value)
	assert.Equal(t, value, string(f.Records()[0].Value))
}

func otherCA(t *testing.T) []byte {
	ca, _, err := kafkatest.SelfSigned()
	require.NoError(t, err)
	return ca
}
