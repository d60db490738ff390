package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// The workloads on Kafka Streams: a program in Java (the folder java), compiled on the machine, with its libraries from Maven.

//go:embed java
var javaFiles embed.FS

// javaProgram is the class path of the compiled program.
type javaProgram string

// javaHeap bounds the heap. Without a bound it grows with the machine's memory, and what is resident says little. With 2 GB the CPU
// is the same, with 512 MB a tenth more.
const javaHeap = "-Xmx1g"

// heap returns the bound. RocksDB's memtables and caches, and the rest of the virtual machine, need as much again, which counts
// where memory is limited.
func (o *options) heap() string {
	if o.limit > 0 {
		return fmt.Sprintf("-Xmx%dm", min(o.limit*2/5, 1024))
	}
	return javaHeap
}

// buildJava compiles the program.
func buildJava(ctx context.Context, cache string) (javaProgram, error) {
	files, err := fs.Sub(javaFiles, "java")
	if err != nil {
		return "", err
	}
	classPath, err := kafkatest.CompileJava(ctx, cache, files)
	return javaProgram(classPath), err
}

// startStreams starts the program of a workload on Kafka Streams, and waits until its tasks run.
func (b *bench) startStreams(ctx context.Context, s spec) (*process, error) {
	args := []string{b.heap(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", string(b.java), "Bench"}
	for name, value := range map[string]string{
		"workload":    s.Workload,
		"application": s.appID(),
		"broker":      s.Broker,
		"state":       s.StateDir,
		"threads":     strconv.Itoa(runtime.GOMAXPROCS(0)),
		"records":     strconv.FormatInt(s.Records*s.each(), 10),
		"warm":        strconv.FormatInt(s.Warm*s.each(), 10),
	} {
		args = append(args, name+"="+value)
	}
	if more := programs[s.Workload].java; more != nil {
		for name, value := range more(s) {
			args = append(args, name+"="+value)
		}
	}
	p, err := start(exec.CommandContext(ctx, "java", args...))
	if err != nil {
		return nil, err
	}
	return p, p.ready()
}

// dump asks the program for the rows of a store.
func (p *process) dump(store string, f func(storage.Entry) error) (rows int64, err error) {
	if _, err := io.WriteString(p.stdin, "dump "+store+"\n"); err != nil {
		return 0, err
	}
	for {
		key, err := readBytes(p.out)
		if err != nil || key == nil {
			return rows, err
		}
		value, err := readBytes(p.out)
		if err != nil {
			return rows, err
		}
		if err := f(storage.Entry{Key: key, Value: value}); err != nil {
			return rows, err
		}
		rows++
	}
}

// readBytes reads a length and as many bytes; nil for the length -1.
func readBytes(in *bufio.Reader) ([]byte, error) {
	var size int32
	if err := binary.Read(in, binary.BigEndian, &size); err != nil || size < 0 {
		return nil, err
	}
	b := make([]byte, size)
	_, err := io.ReadFull(in, b)
	return b, err
}

// consumed waits until a group has committed all of the inputs and of the application's internal topics.
func (b *bench) consumed(ctx context.Context, group string, inputs []string) error {
	if len(inputs) == 0 {
		return nil
	}
	for before := int64(-1); ; {
		at, behind, err := b.lag(ctx, group, inputs)
		if err != nil {
			return err
		}
		// The last record of one topic may become one of the next: nothing may have moved.
		if behind == 0 && at == before {
			return nil
		}
		before = at
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lag returns the sum of the ends of what a group reads, and how many records of it are not committed.
func (b *bench) lag(ctx context.Context, group string, inputs []string) (end, behind int64, err error) {
	topics := append([]string(nil), inputs...)
	all, err := b.topics(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, t := range all {
		if internalInput(t, group) {
			topics = append(topics, t)
		}
	}
	committed, err := b.committed(ctx, group)
	if err != nil {
		return 0, 0, err
	}
	for _, t := range topics {
		ends, err := b.ends(ctx, t)
		if err != nil {
			return 0, 0, err
		}
		for p, e := range ends {
			end += e
			behind += e - committed[t][p]
		}
	}
	return end, behind, nil
}

// committed returns the offsets of a group, by topic and partition.
func (b *bench) committed(ctx context.Context, group string) (map[string]map[int32]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, b.client)
	if err != nil {
		return nil, err
	}
	out := map[string]map[int32]int64{}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			out[t.Topic] = map[int32]int64{}
			for _, p := range t.Partitions {
				out[t.Topic][p.Partition] = max(p.Offset, 0)
			}
		}
	}
	return out, nil
}
