// Package crash marks the steps between which a test lets the process die.
//
// Before and after each durable step, the code calls [Point] with the name "<package>.<step>.<before|after>". In a release build it is an empty
// function, which the compiler removes. In a binary built with the tag "faults", the environment variable WAYSIDE_FAULT_CRASH ("name" or
// "name:k") makes the process kill itself with SIGKILL when it passes this point for the k-th time (from 0).
package crash
