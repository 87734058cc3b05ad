package lib

const Separator = '\\'
