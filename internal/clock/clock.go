// Package clock is the one place where wayside reads the wall clock.
//
// Every constructor that needs the time takes an Options.Now and falls back to [Now]. Fault tests build the binary with
// the tag "faults"; there [Now] adds an offset that the test changes while the process runs, so that clock jumps can be
// produced without touching the machine's clock. The release build calls time.Now and nothing else.
package clock
