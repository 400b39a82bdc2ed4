// Command payload is the program in every image of the test node: it waits for SIGTERM.
// It serves as pause container and as workload, since both only have to stay alive.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
