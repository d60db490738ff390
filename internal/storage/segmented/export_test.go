package segmented

// SetPassAfter has a versioned store copy its latest versions when its changelog has got so many
// records more.
func (s *Store) SetPassAfter(after int64) { s.passAfter = after }

// TrimSteps returns how many steps the store has of its changelog.
func (s *Store) TrimSteps() int { return len(s.trim.steps) }
