//go:build !faultinject

package sim

// lifts are the protections that only a build with the tag faultinject can take away.
var lifts = map[Without]func(bool){}
