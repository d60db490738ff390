// Package failure says what happens to a record that cannot be processed.
package failure

// Policy is what happens to a record that cannot be processed. The zero Policy is the App's.
type Policy struct{ kind int }
