// Package spec has what the options and references of package store and the windows of package window
// come to, for the compiler and the operators to read. It is apart from those packages so that users do
// not see it.
package spec
