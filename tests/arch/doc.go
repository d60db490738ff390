// Package arch holds nothing but tests: the rules about who may import whom, what the module asks of those who import it, and a few
// habits that a machine can check.
package arch
