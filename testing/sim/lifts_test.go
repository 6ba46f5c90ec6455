//go:build !broken

package sim

// lifts are the protections that only a build with the tag broken can take away.
var lifts = map[Without]func(bool){}
