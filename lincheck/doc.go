// Package lincheck checks that a group is linearizable: histories of many
// clients, made while links break and peers are cut off, are judged by
// porcupine. It is a module of its own so that nobody else needs that.
package lincheck
