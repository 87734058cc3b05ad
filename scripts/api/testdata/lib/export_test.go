package lib

func ForTests() {}
