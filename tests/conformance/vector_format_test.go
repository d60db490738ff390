package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// spec is a topology as topologies.json describes it.
type spec struct {
	Name       string
	Group      string
	PseudoDsl  []string
	Inputs     []string
	Outputs    []string
	HexOutputs []string
	Stores     map[string]string // kinds by name
	Describe   string
	BuildError *struct{ Class, Message string }
}

// timeline is what Kafka Streams made of some input.
type timeline struct {
	Topology       string
	Timeline       string
	Steps          []step
	DroppedRecords *int
	Stores         map[string][]string
}

type step struct {
	In                 *record
	AdvanceWallClockMs int64
	Out                []record
	Error              *struct{ Class, Message string }
}

type record struct {
	Topic   string
	Key     *string
	Value   *string
	TS      int64
	Headers [][2]*string
}

// text renders a record, so that a difference can be read.
func (r record) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s -> %s @%d", r.Topic, quoted(r.Key), quoted(r.Value), r.TS)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %s=%s", quoted(h[0]), quoted(h[1]))
	}
	return b.String()
}

func quoted(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

// specs reads topologies.json.
func specs(t *testing.T) map[string]spec {
	t.Helper()
	b, err := os.ReadFile("testdata/topologies.json")
	require.NoError(t, err)
	var list []spec
	require.NoError(t, json.Unmarshal(b, &list))
	out := map[string]spec{}
	for _, s := range list {
		out[s.Name] = s
	}
	return out
}

// vectors reads the timelines of dir and below, in the order of their names. Those in a directory named deviations come from what is
// taken for a defect of Kafka Streams: they are not replayed.
func vectors(t *testing.T, dir string) []timeline {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, f os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case f.IsDir() && f.Name() == "deviations" && path != dir:
			return filepath.SkipDir
		case !f.IsDir() && filepath.Ext(path) == ".json":
			files = append(files, path)
		}
		return nil
	}))
	sort.Strings(files)
	var out []timeline
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.HasPrefix(strings.TrimSpace(string(b)), "[") {
			continue // a list of topologies: ours are built in
		}
		var v timeline
		require.NoError(t, json.Unmarshal(b, &v), f)
		require.NotEmpty(t, v.Topology, "%s is no timeline", f)
		out = append(out, v)
	}
	return out
}
