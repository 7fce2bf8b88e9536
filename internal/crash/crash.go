// Package crash marks the steps at which a test can kill the process.
//
// Before and after each durable step, the code calls [Point] with the name "<package>.<step>.<before|after>". In a release build, Point
// is an empty function, which the compiler removes. In a binary built with the tag "faults", the environment variable WAYSIDE_FAULT_CRASH
// ("name" or "name:k") makes the process kill itself with SIGKILL on the call to Point with the index k (counted from 0) for this name.
// With WAYSIDE_FAULT_WAIT ("name:FILE"), a goroutine that reaches the point creates FILE and waits until a test removes it, while
// everything else continues.
package crash
