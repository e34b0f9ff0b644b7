// Command peer serves and calls bench.proto with grpc-go, the way its own examples do.
//
//	peer serve [-cert -key]    prints the port, ends with standard input
//	peer echo                  a raw TCP echo, the floor under the latencies
//	peer call KIND --port ...  runs one load, prints one line of JSON
//	peer version               prints the versions of Go and grpc-go
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"gyrfalcon.invalid/bench/benchpb"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: peer serve | echo | call KIND ... | version")
	}
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2:])
	case "echo":
		serveEcho()
	case "call":
		call(os.Args[2:])
	case "version":
		fmt.Printf("%s %s\n", grpc.Version, runtime.Version())
	default:
		log.Fatalf("no verb %q", os.Args[1])
	}
}

// listen opens a free port and prints it.
func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	return listener
}

func serve(arguments []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	cert := flags.String("cert", "", "serve with TLS: the file of the certificate")
	key := flags.String("key", "", "the file of its key")
	flags.Parse(arguments)
	var options []grpc.ServerOption
	if *cert != "" {
		secure, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(secure))
	}
	server := grpc.NewServer(options...)
	benchpb.RegisterBenchServer(server, &bench{})
	listener := listen()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

func serveEcho() {
	listener := listen()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go io.Copy(connection, connection)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
}
