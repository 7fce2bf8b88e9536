// Package crash marks the steps between which a process may die.
//
// [Point] stands before and after each durable step, named "<package>.<step>.<before|after>". In a release build it is an
// empty function that the compiler removes. Built with the tag "faults", the environment variable WAYSIDE_FAULT_CRASH
// ("name" or "name:k") makes the process kill itself with SIGKILL when the point is passed for the k-th time (from 0).
package crash
