//go:build unix

package sarama

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millstream-go/millstream/internal/kafka"
)

func init() { benchBrokers["transactions"] = runTransactionsBroker }

// runTransactionsBroker is the child process of BenchmarkTransactions.
func runTransactionsBroker() {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "in", "out"))
	if err != nil {
		panic(err)
	}
	fmt.Println(c.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's end
	c.Close()
}

// BenchmarkTransactions commits transactions of a few records to four partitions, with the offsets of four others: what
// a transaction costs beside its records. An op is a transaction; cpu-ns/op is what the process used, on all its
// goroutines, without the broker, which is another process.
func BenchmarkTransactions(b *testing.B) {
	c, err := New(Config{Brokers: []string{startBroker(b, "transactions")}})
	require.NoError(b, err)
	defer c.Close()
	p, err := c.Transactor(kafka.ProduceConfig{}, kafka.TransactionConfig{ID: "bench"})
	require.NoError(b, err)
	defer p.Close()
	ctx := context.Background()
	require.NoError(b, p.Begin(ctx))
	offset := int64(0)
	run := func(n int) {
		for range n {
			offset++
			offsets := map[kafka.TopicPartition]kafka.OffsetMeta{}
			for i := range int32(4) {
				offsets[kafka.TopicPartition{Topic: "in", Partition: i}] = kafka.OffsetMeta{Offset: offset}
				if err := p.Send(ctx, kafka.TopicPartition{Topic: "out", Partition: i}, kafka.ProduceRecord{Value: []byte("v")}); err != nil {
					b.Fatal(err)
				}
			}
			p.Flush()
			ticket := p.Cut()
			<-ticket.Done
			if ticket.Err != nil {
				b.Fatal(ticket.Err)
			}
			if err := p.CommitOffsets(ctx, "group", "", -1, offsets); err != nil {
				b.Fatal(err)
			}
			if err := p.End(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	run(20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime(b)
	b.ResetTimer()
	run(b.N)
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/transaction")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N), "B/transaction")
}
