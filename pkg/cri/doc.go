// Package cri asks this node's container runtime what it has and what it
// thinks of itself, over version 1 of the Container Runtime Interface.
//
// It promises that
//
//   - every call ends: at the caller's deadline or at the client's own,
//     whichever is sooner, and within about a second when nobody can be
//     reached at the socket;
//   - a call that failed says why in one of a closed list of kinds ([Kind]),
//     in one line for a person ([Error.Error]) with a second line on what to
//     do ([Error.Hint]), and never with a credential in it;
//   - a runtime that comes back is found again by the same [Client], over one
//     connection for each distinct socket;
//   - whatever stands behind the socket is not trusted: messages are bounded,
//     and absent fields, rubbish and silence become errors, not panics.
//
// Nothing here removes, changes or starts anything in the runtime, apart from
// [Client.PullImage], which pulls.
//
// [Discover] finds the socket in the order that crictl uses, so that a node
// that is set up for crictl needs no further setting.
package cri
