// Package kafkatest starts a real Apache Kafka: one node, controller and broker in one, on free
// ports of the loopback interface, with its jars from Maven. Tests under the build tag kafka use
// it, and so does the program in scripts/kafka.
//
// It never skips: without Java or Maven it fails and says what to install.
package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// User and Password log in on SASLAddr by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. OAUTHBEARER takes
// any token without a signature (alg none) that names a sub, and has not expired.
const (
	User     = "alice"
	Password = "alice-secret"
)

// Options configure a Node.
type Options struct {
	SASL       bool              // listen for SASL over TLS too
	Properties map[string]string // added to server.properties
	JVM        []string          // Defaults to -Xmx1g.
}

// Node is a Kafka that runs, or was killed. It is owned by one goroutine.
type Node struct {
	Addr     string // without TLS and SASL
	SASLAddr string // SASL over TLS; empty unless asked for
	CA       []byte // in PEM: what signed the certificate of SASLAddr

	options Options
	dir     string
	libs    string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has ended
	guard   *guard
}

// Start starts a node and waits until it serves. It is stopped, and its data removed, when t ends.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n, err := New(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(n.Kill) // nothing waits for its data
	return n
}

// New formats a node whose files are in dir, starts it and waits until it serves. Stop it.
func New(ctx context.Context, dir string, o Options) (*Node, error) {
	libs, err := libraries(ctx)
	if err != nil {
		return nil, err
	}
	if len(o.JVM) == 0 {
		o.JVM = []string{"-Xmx1g"}
	}
	n := &Node{options: o, dir: dir, libs: libs}
	if err := n.configure(); err != nil {
		return nil, err
	}
	if err := n.format(ctx); err != nil {
		return nil, err
	}
	return n, n.start(ctx)
}

func (n *Node) properties() string { return filepath.Join(n.dir, "server.properties") }
func (n *Node) log() string        { return filepath.Join(n.dir, "kafka.log") }

func (n *Node) format(ctx context.Context) error {
	var id [16]byte
	rand.Read(id[:])
	id[0] &= 0x7f // an id that begins with '-' would be taken for an option
	args := []string{"format", "--standalone", "-t", base64.RawURLEncoding.EncodeToString(id[:]), "-c", n.properties()}
	if n.options.SASL {
		for _, m := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", m, User, Password))
		}
	}
	_, err := n.Tool(ctx, "kafka.tools.StorageTool", args...)
	return err
}

func (n *Node) java(args ...string) []string {
	return append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(n.libs, "*")}, args...)
}

func (n *Node) start(ctx context.Context) error {
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command("java", append(n.options.JVM[:len(n.options.JVM):len(n.options.JVM)], n.java("kafka.Kafka", n.properties())...)...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return err
	}
	// Before the node is ready: a test may run into its timeout while it waits.
	n.guard = watch(n.cmd.Process.Pid)
	exited := make(chan struct{})
	n.exited = exited
	go func() { defer close(exited); n.cmd.Wait() }()
	if err := n.ready(ctx); err != nil {
		n.Kill()
		log, _ := os.ReadFile(n.log())
		return fmt.Errorf("start Kafka: %w\n%s", err, log)
	}
	return nil
}

// guard is a process that kills the node when this process ends without doing so, as a test does
// that runs into its timeout. Where there is no shell nothing guards.
type guard struct{ stdin io.WriteCloser }

// watch starts a guard. Its standard input ends with this process; a line on it says that all is well.
func watch(pid int) *guard {
	sh := exec.Command("sh", "-c", "read _ || kill -9 "+strconv.Itoa(pid)+" 2>/dev/null")
	in, err := sh.StdinPipe()
	if err != nil || sh.Start() != nil {
		return &guard{}
	}
	go sh.Wait()
	return &guard{in}
}

// dismiss is called once the node has ended: its number may be another process's soon.
func (g *guard) dismiss() {
	if g.stdin != nil {
		io.WriteString(g.stdin, "\n")
		g.stdin.Close()
	}
}

// ready waits until the node answers as a cluster with a broker. It polls, since the node is
// another process.
func (n *Node) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Minute, errors.New("not ready within 4 minutes"))
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		answer, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, c)
		if err == nil && len(answer.Brokers) > 0 {
			return nil
		}
		select {
		case <-n.exited:
			return errors.New("the process ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// PID returns the id of the node's process, whose CPU can be measured.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Kill ends the node with SIGKILL: a crash. Restart brings it back.
func (n *Node) Kill() { n.end(os.Kill) }

// Stop ends the node with SIGTERM and waits until it has shut down. Restart brings it back.
func (n *Node) Stop() { n.end(syscall.SIGTERM) }

func (n *Node) end(s os.Signal) {
	if n.exited == nil {
		return
	}
	if n.cmd.Process.Signal(s) != nil {
		n.cmd.Process.Kill() // where there is no such signal
	}
	<-n.exited
	n.guard.dismiss()
	n.exited = nil
}

// Restart starts the node again after Kill or Stop, or ends it first by Stop, with its data and at
// its addresses, and waits until it serves.
func (n *Node) Restart(ctx context.Context) error {
	n.Stop()
	return n.start(ctx)
}

// Tool runs one of Kafka's command-line tools by its class, such as
// org.apache.kafka.tools.consumer.group.ConsumerGroupCommand, and returns its standard output. The
// arguments are the tool's: it needs --bootstrap-server and Addr.
func (n *Node) Tool(ctx context.Context, class string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "java", append(n.java("-XX:TieredStopAtLevel=1", class), args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", class, err, &out, &errs)
	}
	return out.String(), nil
}
