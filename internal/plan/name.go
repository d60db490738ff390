package plan

import (
	"errors"
	"fmt"
)

// GiveName names n by position: Kafka gets a topic of that name, or a store does, so it has to be there and Named is an error.
func (n *Node) GiveName(name string) {
	if n == nil {
		return
	}
	n.settled = true
	n.setName(name)
}

// SetName is the Named method of handles.
func (n *Node) SetName(name string) {
	switch {
	case n == nil:
	case n.settled:
		n.Errorf("it is named %q already; a second name, %q, would be ignored", n.name, name)
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

// CheckName says whether name can be part of a topic's name: letters, digits, '.', '_' and '-', at most 249.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("its name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("name %q is not allowed", name)
	case len(name) > 249:
		return fmt.Errorf("name %q is longer than 249 characters", name)
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return fmt.Errorf("name %q has %q in it; letters, digits, '.', '_' and '-' are allowed", name, r)
		}
	}
	return nil
}
