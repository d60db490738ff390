package plan

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/quote"
)

// FixName names n by an argument of its call. A topic or a store gets this name, so Named is an
// error.
func (n *Node) FixName(name string) {
	if n == nil {
		return
	}
	n.nameFixed = true
	n.setName(name)
}

// SetName is the Named method of handles.
func (n *Node) SetName(name string) {
	switch {
	case n == nil:
	case n.nameFixed:
		n.Errorf("it already has the name %q; a second name, %q, would be ignored", n.name, name)
	case n.name != "" && n.name != name:
		n.Errorf("it is named twice: %q and %q", n.name, name)
	default:
		n.setName(name)
	}
}

func (n *Node) setName(name string) {
	if err := CheckName(name); err != nil {
		n.Errorf("%w", err)
		return
	}
	n.name = name
}

// CheckName returns why name cannot be part of a topic's name: it must have 1 to 249 letters,
// digits, '.', '_' and '-'.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("its name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("name %q is not allowed", name)
	case len(name) > 249:
		return fmt.Errorf("name %s is longer than 249 characters", quote.Key(name))
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return fmt.Errorf("name %q has %q in it; letters, digits, '.', '_' and '-' are allowed", name, r)
		}
	}
	return nil
}
