package lib

func OnlyLinux() {}
