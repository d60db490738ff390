package bolt_test

func runChild(string) {}
