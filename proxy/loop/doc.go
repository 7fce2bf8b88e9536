// Package loop serves many connections on one goroutine.
//
// A [Loop] waits for all its sockets with one epoll_wait(2) and runs a [Task] for each connection that has something to do. A task is
// code that reads and writes as if these operations blocked. When it would have to wait, it yields control to the loop, which continues
// the task when its socket is ready. A task is a coroutine ([iter.Pull]): a switch takes about 100 ns and wakes no thread. The same code
// can also run on its own goroutine, with any other [net.Conn].
//
// A loop also calls functions outside of tasks: those passed to Post, OnReady, Start and Listen. They must not wait. [Loop.Go] starts a
// task.
//
// Only one task of a loop runs at any time, so data that belongs to a loop needs no lock. A task must block only through the methods of
// this package: otherwise it would hold up all other connections of the loop. [Loop.Block] runs code that has to block in another way.
//
// # What it relies on
//
// While a loop is busy, it waits in a system call that the Go runtime does not see ([syscall.RawSyscall6]). So the runtime does not hand
// the loop's processor (P) to another goroutine, for which it would have to wake a thread. That would cost more than the rest of a small
// exchange. This relies on three facts, which TestRuntime checks:
//
//   - The runtime has more processors than there are loops, because each busy loop keeps one. The caller must set GOMAXPROCS accordingly.
//   - To stop a goroutine, for the garbage collector or a profile, the runtime sends a signal. The signal ends the wait, and the loop then
//     calls the scheduler.
//   - A loop that has had nothing to do for a few milliseconds waits in an ordinary system call, which releases its processor.
package loop
