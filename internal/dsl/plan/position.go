package plan

import (
	"fmt"
	"runtime"
	"strings"
)

const modulePath = "github.com/millstream-go/millstream/"

// position returns where the DSL was called: the innermost frame outside the DSL's packages, and
// that frame's caller, since the innermost one is often a user's helper that many calls go through.
func position() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var positions []string
	for {
		f, more := frames.Next()
		if f.File != "" && !insideDSL(f) && !strings.HasPrefix(f.Function, "runtime.") &&
			!strings.HasPrefix(f.Function, "testing.") {
			positions = append(positions, fmt.Sprintf("%s:%d", f.File, f.Line))
		}
		if !more || len(positions) == 2 {
			break
		}
	}
	switch len(positions) {
	case 0:
		return ""
	case 1:
		return positions[0]
	}
	return positions[0] + " (called from " + positions[1] + ")"
}

// insideDSL reports whether a frame belongs to the DSL. Tests in its packages count as users.
func insideDSL(f runtime.Frame) bool {
	rest, ok := strings.CutPrefix(f.Function, modulePath)
	if !ok || strings.HasSuffix(f.File, "_test.go") {
		return false
	}
	for _, p := range []string{"stream.", "table.", "join.", "store.", "topology.", "internal/dsl/plan."} {
		if strings.HasPrefix(rest, p) {
			return true
		}
	}
	return false
}
