//go:build unix

package sarama

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/millstream-go/millstream/internal/kafka"
)

func init() { benchBrokers["pass"] = runBenchBroker }

// runBenchBroker is the child process of BenchmarkFetchProduce: a broker that serves canned batches
// and drops what it is sent, so that only the client is measured.
func runBenchBroker() {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "in", "out"), kfake.BlackholeProduce(),
		kfake.SyntheticFetch(kfake.SyntheticBatch{Records: 1000, RecordBytes: 100}))
	if err != nil {
		panic(err)
	}
	fmt.Println(c.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's end
	c.Close()
}

func startBroker(b *testing.B, name string) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerEnv+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	return strings.TrimSpace(addr)
}

// queue hands batches from the fetcher to the benchmark's goroutine.
type queue chan *kafka.Batch

func (q queue) Deliver(b *kafka.Batch)                         { q <- b }
func (q queue) FetchFailed(tp kafka.TopicPartition, err error) { panic(err) }

// BenchmarkFetchProduce reads four partitions and writes each record to another topic. An op is a
// record; cpu-ns/op is what the process used, on all its goroutines, without the broker, which is
// another process.
func BenchmarkFetchProduce(b *testing.B) {
	addr := startBroker(b, "pass")
	c, err := New(Config{Brokers: []string{addr}})
	require.NoError(b, err)
	defer c.Close()
	f, err := c.Fetcher(kafka.FetchConfig{})
	require.NoError(b, err)
	defer f.Close()
	p, err := c.Producer(kafka.ProduceConfig{})
	require.NoError(b, err)
	defer p.Close()
	q := make(queue, 64)
	for i := range int32(4) {
		f.Add(kafka.TopicPartition{Topic: "in", Partition: i}, 0, q)
	}
	pass(b, f, p, q, 200_000) // warm up
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := cpuTime(b)
	b.ResetTimer()
	pass(b, f, p, q, b.N)
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/record")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N), "B/record")
}

// pass moves n records and waits until they are acknowledged.
func pass(b *testing.B, f kafka.Fetcher, p kafka.Producer, q queue, n int) {
	ctx := context.Background()
	for n > 0 {
		batch := <-q
		out := kafka.TopicPartition{Topic: "out", Partition: batch.Partition}
		for i := range batch.Records[:min(n, len(batch.Records))] {
			r := &batch.Records[i]
			if err := p.Send(ctx, out, kafka.ProduceRecord{Key: r.Key, Value: r.Value, Headers: r.Headers, Time: r.Time}); err != nil {
				b.Fatal(err)
			}
		}
		p.Flush()
		n -= len(batch.Records)
		f.Release(batch.TopicPartition, batch.Bytes)
	}
	k := p.Cut()
	<-k.Done
	require.NoError(b, k.Err)
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
