package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"gyrfalcon.invalid/bench/benchpb"
)

// block is how many calls are measured before the echo has its turn.
const block = 100

// load is one measurement as asked for on the command line.
type load struct {
	kind                   string
	port, echoPort         int
	seconds, warmUp        float64
	calls, inFlight, count int
	size                   int
}

// turns counts down a number of turns, or goes on until stopped.
type turns struct {
	left, taken atomic.Int64
}

func (t *turns) next() bool {
	if t.left.Add(-1) < 0 {
		return false
	}
	t.taken.Add(1)
	return true
}

func (t *turns) stop() { t.left.Store(0) }

func parse(arguments []string) load {
	if len(arguments) == 0 {
		log.Fatal("call: which kind?")
	}
	l := load{kind: arguments[0]}
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	flags.IntVar(&l.port, "port", 0, "of the server")
	flags.IntVar(&l.echoPort, "echo-port", 0, "of the echo server")
	flags.Float64Var(&l.seconds, "seconds", 1, "to measure")
	flags.Float64Var(&l.warmUp, "warm-up", 0.3, "seconds before that")
	flags.IntVar(&l.calls, "calls", 0, "instead of seconds")
	flags.IntVar(&l.inFlight, "in-flight", 1, "calls at once")
	flags.IntVar(&l.count, "count", 1, "messages in one stream")
	flags.IntVar(&l.size, "size", 1, "bytes of data in a chunk")
	flags.Parse(arguments[1:])
	return l
}

func call(arguments []string) {
	l := parse(arguments)
	connection, err := grpc.NewClient(
		fmt.Sprintf("127.0.0.1:%d", l.port),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	must(err)
	defer connection.Close()
	client := benchpb.NewBenchClient(connection)

	var result map[string]float64
	switch {
	case l.kind == "latency":
		latencies(client, l, l.warmUp)
		result = latencies(client, l, l.seconds)
	case l.calls > 0:
		t := &turns{}
		t.left.Store(int64(l.calls))
		result = throughput(client, l, t)
	default:
		for _, seconds := range []float64{l.warmUp, l.seconds} {
			t := &turns{}
			t.left.Store(math.MaxInt64)
			timer := time.AfterFunc(time.Duration(seconds*float64(time.Second)), t.stop)
			result = throughput(client, l, t)
			timer.Stop()
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}

func throughput(client benchpb.BenchClient, l load, t *turns) map[string]float64 {
	began := time.Now()
	var n int64
	switch l.kind {
	case "unary":
		n = unary(client, l, t)
	case "download":
		n = download(client, l, t)
	case "upload":
		n = upload(client, l, t)
	case "chat":
		n = chat(client, l, t)
	default:
		log.Fatalf("no load %q", l.kind)
	}
	return map[string]float64{"n": float64(n), "seconds": time.Since(began).Seconds()}
}

func unary(client benchpb.BenchClient, l load, t *turns) int64 {
	order := newOrder()
	var workers sync.WaitGroup
	for range l.inFlight {
		workers.Go(func() {
			for t.next() {
				_, err := client.Buy(context.Background(), order)
				must(err)
			}
		})
	}
	workers.Wait()
	return t.taken.Load()
}

func download(client benchpb.BenchClient, l load, t *turns) (n int64) {
	wish := &benchpb.Wish{Count: uint32(l.count), Size: uint32(l.size)}
	for t.next() {
		stream, err := client.Download(context.Background(), wish)
		must(err)
		for {
			_, err := stream.Recv()
			if err == io.EOF {
				break
			}
			must(err)
			n++
		}
	}
	return n
}

func upload(client benchpb.BenchClient, l load, t *turns) (n int64) {
	chunk := newChunk(l.size)
	for t.next() {
		stream, err := client.Upload(context.Background())
		must(err)
		for range l.count {
			must(stream.Send(chunk))
		}
		total, err := stream.CloseAndRecv()
		must(err)
		n += int64(total.GetCount())
	}
	return n
}

func chat(client benchpb.BenchClient, l load, t *turns) int64 {
	chunk := newChunk(l.size)
	stream, err := client.Chat(context.Background())
	must(err)
	for t.next() {
		must(stream.Send(chunk))
		_, err := stream.Recv()
		must(err)
	}
	must(stream.CloseSend())
	if _, err := stream.Recv(); err != io.EOF {
		log.Fatalf("the stream ended with %v", err)
	}
	return t.taken.Load()
}

func latencies(client benchpb.BenchClient, l load, seconds float64) map[string]float64 {
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.echoPort))
	must(err)
	defer connection.Close()
	order := newOrder()
	payload, err := proto.Marshal(order)
	must(err)
	payload = append(make([]byte, 5), payload...)
	answer := make([]byte, len(payload))
	var calls, echoes []time.Duration
	for end := time.Now().Add(time.Duration(seconds * float64(time.Second))); time.Now().Before(end); {
		for range block {
			began := time.Now()
			_, err := connection.Write(payload)
			must(err)
			_, err = io.ReadFull(connection, answer)
			must(err)
			echoes = append(echoes, time.Since(began))
		}
		for range block {
			began := time.Now()
			_, err := client.Buy(context.Background(), order)
			must(err)
			calls = append(calls, time.Since(began))
		}
	}
	return map[string]float64{
		"n":        float64(len(calls)),
		"p50":      percentile(calls, 50),
		"p99":      percentile(calls, 99),
		"echo_p50": percentile(echoes, 50),
		"echo_p99": percentile(echoes, 99),
	}
}

// percentile is in microseconds; it sorts the times.
func percentile(times []time.Duration, percent int) float64 {
	slices.Sort(times)
	return float64(times[len(times)*percent/100].Nanoseconds()) / 1e3
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
