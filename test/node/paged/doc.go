// Package paged looks at the agent's page with a real Chromium: at phone and desk width, dark and light, with names that were chosen to harm,
// and once as a real agent on a real node serves it.
package paged
