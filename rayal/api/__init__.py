"""What `import rayal` offers, as functions and objects; the command line calls these too."""
