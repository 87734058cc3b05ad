package main

type Exported struct{}

func main() {}
