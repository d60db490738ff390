package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// storeClasses have the methods of StateStore besides their own: the page says those once.
var storeClasses = []string{"KeyValueStore", "WindowStore", "SessionStore", "VersionedKeyValueStore"}

// The page for those who come from Kafka Streams says of every key of StreamsConfig and of every public method of the classes in the list
// whether it is here, and names nothing that is not there.
func TestMigrationNamesAllOfKafkaStreams(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "migration.md"))
	require.NoError(t, err)
	list, err := os.ReadFile(filepath.Join("testdata", "kafka-streams-4.3.0.txt"))
	require.NoError(t, err)
	names := map[string]map[string]bool{}
	var class string
	n := 0
	for line := range strings.Lines(string(list)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "# "):
			class = line[2:]
			names[class] = map[string]bool{}
		case line != "" && !strings.HasPrefix(line, "//"):
			names[class][line] = true
			n++
		}
	}
	require.Greater(t, n, 290)
	common := section(string(page), "Stores")
	for class, all := range names {
		table := section(string(page), class)
		if !assert.NotEmpty(t, table, "no section %s", class) {
			continue
		}
		for _, c := range storeClasses {
			if c == class {
				table += common
			}
		}
		for name := range all {
			assert.Contains(t, table, "`"+name+"`", "%s lacks it", class)
		}
		for _, row := range rows(table) {
			assert.Regexp(t, `^[^|]+\| [^|]+$`, row, "a row of %s says nothing", class)
			called, _, _ := strings.Cut(row, " | ")
			for _, m := range signature.FindAllStringSubmatch(called, -1) {
				assert.True(t, all[m[1]], "%s has no %s", class, m[1])
			}
		}
	}
}

// signature is a method as the list has it, or a key of StreamsConfig.
var signature = regexp.MustCompile("`((?:new )?[A-Za-z]+\\([A-Za-z, ]*\\)|[a-z]+(?:\\.[a-z_]+)+\\.?)`")

// section returns what stands under a heading, up to the next one.
func section(page, name string) string {
	_, rest, ok := strings.Cut(page, "# "+name+"\n")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, "\n#")
	return text
}

// rows returns the rows of the tables in text, without their first and last bar.
func rows(text string) (out []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "| `") {
			out = append(out, strings.Trim(line, "| "))
		}
	}
	return out
}
