// Command hello is the smallest service and its client: `hello serve` in one terminal, `hello NAME` in another.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: hello serve | hello NAME")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if os.Args[1] == "serve" {
		if err := serve(ctx); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := greet(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}
