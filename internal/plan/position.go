package plan

import (
	"fmt"
	"runtime"
	"strings"
)

const module = "github.com/millstream-go/millstream/"

// position is where the DSL was called: the innermost frame outside the DSL's packages, and its caller, since the
// innermost is often a helper of the user's that many calls go through.
func position() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var at []string
	for {
		f, more := frames.Next()
		if f.File != "" && !ours(f) && !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "testing.") {
			at = append(at, fmt.Sprintf("%s:%d", f.File, f.Line))
		}
		if !more || len(at) == 2 {
			break
		}
	}
	switch len(at) {
	case 0:
		return ""
	case 1:
		return at[0]
	}
	return at[0] + " (called from " + at[1] + ")"
}

// ours says that a frame belongs to the DSL. Tests in its packages are users.
func ours(f runtime.Frame) bool {
	rest, ok := strings.CutPrefix(f.Function, module)
	if !ok || strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	for _, p := range []string{"stream.", "table.", "join.", "store.", "topology.", "internal/plan."} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}
