package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestWordCount(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in, out := testdriver.Input(d, lines), testdriver.Output(d, counts)
	in.SendValue("to be or")
	in.SendValue("not to be")
	assert.Equal(t, map[string]int64{"to": 2, "be": 2, "or": 1, "not": 1}, testdriver.Table(out))
}

// The README shows this program as it is.
func TestWordCount_ReadmeShowsTheProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(program), "package main\n")
	require.True(t, ok)
	assert.Contains(t, string(readme), "```go\npackage main\n"+body+"```")
	tests, err := os.ReadFile("main_test.go")
	require.NoError(t, err)
	_, test, _ := strings.Cut(string(tests), "\trequire.NoError(t, err)\n")
	test, _, ok = strings.Cut(test, "}\n\n")
	require.True(t, ok)
	assert.Contains(t, string(readme), "```go\n"+strings.ReplaceAll("\n"+test, "\n\t", "\n")[1:]+"```")
}
