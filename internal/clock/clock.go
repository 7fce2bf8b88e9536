// Package clock is the only place where wayside reads the wall clock.
//
// Every constructor that needs the time has an Options.Now, whose default is [Now]. In a binary built with the tag "faults", [Now] adds
// an offset that a test can change at any time: the clock then jumps for wayside but not for the machine. In a release build, [Now] only
// calls time.Now.
package clock
