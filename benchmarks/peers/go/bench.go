package main

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"gyrfalcon.invalid/bench/benchpb"
)

type bench struct {
	benchpb.UnimplementedBenchServer
}

func (*bench) Buy(_ context.Context, order *benchpb.Order) (*benchpb.Receipt, error) {
	return &benchpb.Receipt{
		OrderId: order.GetId(),
		Total:   float64(order.GetQuantity()) * order.GetPrice(),
		Text:    fmt.Sprintf("%d x %s", order.GetQuantity(), order.GetItem()),
	}, nil
}

func (*bench) Download(
	wish *benchpb.Wish, stream grpc.ServerStreamingServer[benchpb.Chunk],
) error {
	chunk := newChunk(int(wish.GetSize()))
	for range wish.GetCount() {
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (*bench) Upload(stream grpc.ClientStreamingServer[benchpb.Chunk, benchpb.Total]) error {
	total := &benchpb.Total{}
	for {
		chunk, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(total)
		}
		if err != nil {
			return err
		}
		total.Count++
		total.Size += uint64(len(chunk.GetData()))
	}
}

func (*bench) Chat(stream grpc.BidiStreamingServer[benchpb.Chunk, benchpb.Chunk]) error {
	for {
		chunk, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
}

// newChunk is the chunk of payloads.py.
func newChunk(size int) *benchpb.Chunk {
	return &benchpb.Chunk{Number: 1, Data: make([]byte, size)}
}

// newOrder is the order of payloads.py.
func newOrder() *benchpb.Order {
	return &benchpb.Order{
		Id: "106", Item: "Amazon Echo", Quantity: 3, Price: 29.5, Note: []byte("leave at the door"),
	}
}
