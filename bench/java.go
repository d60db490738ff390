package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/storage"
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

// buildJava compiles the program. What it needs and what it makes are kept in the cache, under the hash of what they are made of.
func buildJava(ctx context.Context, cache string) (javaProgram, error) {
	for _, tool := range []string{"javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("Kafka Streams needs a JDK 17 and Maven: %w (on Debian: apt-get install openjdk-17-jdk-headless maven)", err)
		}
	}
	pom, err := javaFiles.ReadFile("java/pom.xml")
	if err != nil {
		return "", err
	}
	libs, err := cached(cache, "libraries", pom, func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), pom, 0o644); err != nil {
			return err
		}
		return tool(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=.")
	})
	if err != nil {
		return "", err
	}
	sources, err := fs.Glob(javaFiles, "java/*.java")
	if err != nil {
		return "", err
	}
	var all []byte
	for _, name := range sources {
		text, err := javaFiles.ReadFile(name)
		if err != nil {
			return "", err
		}
		all = append(all, text...)
	}
	jars := filepath.Join(libs, "*")
	classes, err := cached(cache, "classes", append(all, pom...), func(dir string) error {
		args := []string{"-encoding", "UTF-8", "-Xlint:all,-serial,-try", "-cp", jars, "-d", "."}
		for _, name := range sources {
			text, err := javaFiles.ReadFile(name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644); err != nil {
				return err
			}
			args = append(args, filepath.Base(name))
		}
		return tool(ctx, dir, "javac", args...)
	})
	return javaProgram(classes + string(os.PathListSeparator) + jars), err
}

func tool(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// cached returns the directory that was made of content. It is made under another name and renamed, so that what has the name is
// complete.
func cached(cache, name string, content []byte, fill func(dir string) error) (string, error) {
	dir := filepath.Join(cache, fmt.Sprintf("%s-%x", name, sha256.Sum256(content))[:len(name)+17])
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
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
