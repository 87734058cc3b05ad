// What builds and checks this repository. It is a module of its own so that
// nobody who uses the library gets it, and requires nothing.
module github.com/customstatus/customstatus/scripts

go 1.26.0
