//go:build kafka

package takeover

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// asApp, when it is set, makes this binary the program in Go: settings.
const asApp = "MILLSTREAM_TAKEOVER_APP"

func TestMain(m *testing.M) {
	if text := os.Getenv(asApp); text != "" {
		os.Exit(serve(text))
	}
	goleak.VerifyTestMain(m)
}

// settings are what a process is told.
type settings struct {
	Application, Broker, StateDir string
	In, Out                       string // what names of topics begin with
	Guarantee                     millstream.Guarantee
	Java                          []string // settings of Kafka Streams, name=value
}

// serve is the program in Go. As that in Java it obeys the line "stop" and dies with the test.
func serve(text string) int {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		if line, _ := bufio.NewReader(os.Stdin).ReadString('\n'); line != "stop\n" {
			os.Exit(3)
		}
		cancel()
	}()
	top, err := program(s.In, s.Out)
	var app *millstream.App
	if err == nil {
		app, err = millstream.New(top, millstream.Config{
			ApplicationID: s.Application, Brokers: []string{s.Broker}, StateDir: s.StateDir, Guarantee: s.Guarantee, Workers: 2,
			SessionTimeout: session, HeartbeatInterval: time.Second,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	}
	if err == nil {
		err = app.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the App has ended:", err)
		return 1
	}
	return 0
}

// session is how long a member that was killed, or has not left, stays in the group. Brokers accept no less.
const session = 6 * time.Second

// process is the program in Go or in Java, in a process of its own.
type process struct {
	language string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	exited   chan struct{} // closed when it has ended
}

// startGo starts the program in Go.
func startGo(t *testing.T, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asApp+"="+string(text))
	return start(t, "Go", cmd)
}

// startJava starts the program on Kafka Streams.
func startJava(t *testing.T, classPath string, s settings) *process {
	t.Helper()
	guarantee := map[millstream.Guarantee]string{millstream.AtLeastOnce: "at_least_once", millstream.ExactlyOnce: "exactly_once_v2"}[s.Guarantee]
	args := []string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.streams.kstream.internals=error",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.producer.internals.Sender=error",
		"-cp", classPath, "Takeover",
		"application=" + s.Application, "broker=" + s.Broker, "state=" + s.StateDir, "in=" + s.In, "out=" + s.Out, "guarantee=" + guarantee}
	for _, x := range s.Java {
		args = append(args, "config."+x)
	}
	return start(t, "Java", exec.Command("java", args...))
}

func start(t *testing.T, language string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{language: language, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	var err error
	p.stdin, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	go func() { defer close(p.exited); cmd.Wait() }()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process with SIGKILL, also while it is frozen.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// stop has the process stop by itself.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(p.stdin, "stop\n")
	require.NoError(t, err)
	select {
	case <-p.exited:
		require.True(t, p.cmd.ProcessState.Success(), "%s has ended with an error: %v", p.language, p.cmd.ProcessState)
	case <-time.After(patience):
		require.FailNow(t, p.language+" does not stop")
	}
}

// runs reports whether the process has not ended.
func (p *process) runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// patience is how long a test waits for what has to come, on a machine that may be busy with much else.
const patience = 4 * time.Minute

// eventually polls, since what is awaited happens in other processes. what returns what is missing, and "" when nothing is.
func eventually(t *testing.T, what func() string, running ...*process) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		missing := what()
		if missing == "" {
			return
		}
		for _, p := range running {
			require.True(t, p.runs(), "%s has ended: %v", p.language, p.cmd.ProcessState)
		}
		require.True(t, time.Now().Before(end), "not in time: %s", missing)
	}
}

// javaProgram compiles the program in Java.
func javaProgram(t *testing.T) (classPath string) {
	t.Helper()
	cache, err := kafkatest.Cache()
	require.NoError(t, err)
	classPath, err = kafkatest.CompileJava(t.Context(), cache, os.DirFS("java"))
	require.NoError(t, err)
	return classPath
}

// lines are the lines of a text that is too long to show in full.
func lines(all []string) string {
	const most = 12
	if len(all) > most {
		return fmt.Sprintf("%s\n... and %d more", strings.Join(all[:most], "\n"), len(all)-most)
	}
	return strings.Join(all, "\n")
}
