package arch

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A link that leads nowhere is found by readers only. Files and headings of this repository are checked, other sites are not.
func TestLinks_LeadSomewhere(t *testing.T) {
	top := root(t)
	links := 0
	for _, path := range pages(t) {
		page := readPage(t, path)
		rel, err := filepath.Rel(top, path)
		require.NoError(t, err)
		for _, target := range page.links {
			links++
			if why := followLink(t, top, path, target); why != "" {
				assert.Fail(t, why, "%s links to %s", filepath.ToSlash(rel), target)
			}
		}
	}
	assert.Greater(t, links, 50)
}

func TestLinks_Slugs(t *testing.T) {
	page := readPageText([]byte("# A `Config.Field`, and *more*\n```\n# no heading [x](no-link)\n```\n## [Link](a.md#b) here\n## Twice\n## Twice\n`[code](no)` [yes](x_(y).md)\n"))
	assert.Equal(t, []string{"a.md#b", "x_(y).md"}, page.links)
	assert.Equal(t, map[string]bool{"a-configfield-and-more": true, "link-here": true, "twice": true, "twice-1": true}, page.anchors)
}

// pages returns all Markdown files of the module and of the modules below it.
func pages(t *testing.T) (paths []string) {
	require.NoError(t, filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			paths = append(paths, path)
		}
		return nil
	}))
	return paths
}

// page is what a Markdown file links to, and what it can be linked by.
type page struct {
	links   []string
	anchors map[string]bool
}

var (
	// One pair of parentheses may stand in a target: x_(y).md.
	link    = regexp.MustCompile(`\]\(<?((?:[^()\s]|\([^()\s]*\))+)>?(?:\s+"[^"]*")?\)`)
	heading = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
	code    = regexp.MustCompile("`[^`]*`")
	markup  = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

func readPage(t *testing.T, path string) page {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return readPageText(text)
}

func readPageText(text []byte) page {
	p := page{anchors: map[string]bool{}}
	fenced := false
	seen := map[string]int{}
	for raw := range bytes.Lines(text) {
		line := strings.TrimRight(string(raw), "\r\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			p.links = append(p.links, m[1])
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			anchor := slug(m[1])
			if n := seen[anchor]; n > 0 {
				p.anchors[fmt.Sprintf("%s-%d", anchor, n)] = true
			}
			seen[anchor]++
			p.anchors[anchor] = true
		}
	}
	return p
}

// slug returns the anchor that the forge makes of a heading.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(markup.ReplaceAllString(heading, "$1")) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// forge is where the files of this repository are under an address of their own: issue templates need such links.
const forge = "https://" + module + "/blob/main/"

// followLink returns what is wrong with a link of the page at path, or "".
func followLink(t *testing.T, top, path, target string) string {
	from := filepath.Dir(path)
	if rest, ok := strings.CutPrefix(target, forge); ok {
		from, target = top, rest
	}
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, anchor, _ := strings.Cut(target, "#")
	to := path
	if file != "" {
		to = filepath.Join(from, filepath.FromSlash(file))
	}
	if _, err := os.Stat(to); err != nil {
		return "there is no such file"
	}
	if anchor != "" && filepath.Ext(to) == ".md" && !readPage(t, to).anchors[anchor] {
		return "there is no such heading"
	}
	return ""
}
