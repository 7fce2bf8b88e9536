// Package loop serves many connections on one goroutine.
//
// A [Loop] waits for all its sockets with one epoll_wait(2) and runs a [Task] for each connection that has something to do. A task is
// code that reads and writes as if it blocked. If it would have to wait, it gives control back to the loop, which continues the task
// when its socket is ready. This is a coroutine ([iter.Pull]): a switch takes about 100 ns and wakes no thread. The same code can
// also run on a goroutine of its own, with any other [net.Conn].
//
// A loop also calls functions without a task: those of Post, OnReady, Start and Listen. They must not wait. [Loop.Go] starts a task.
//
// At any time, only one task of a loop runs, so what belongs to a loop needs no lock. A task must not block in any other way than
// through the methods of this package: it would hold up all other connections of the loop. [Loop.Block] runs code that has to block.
//
// # What it relies on
//
// While a loop is busy it waits in a system call of which the Go runtime is not told ([syscall.RawSyscall6]). So the runtime neither
// gives the loop's processor (P) to another goroutine nor wakes a thread for it, which costs more than all the rest of a small
// exchange. Three things must hold, and TestRuntime checks them:
//
//   - The runtime must have more processors than there are loops: each busy loop keeps one. The caller sets GOMAXPROCS.
//   - To stop a goroutine, for the garbage collector or a profile, the runtime sends a signal. It ends the wait, and the loop then
//     calls the scheduler.
//   - A loop that has had nothing to do for a few milliseconds waits in an ordinary system call, which gives its processor back.
package loop
